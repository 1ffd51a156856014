//! In-batch contrastive losses: softmaxes over the scores of texts of a batch.

use crate::losses::dual_encoder::texts::{Gradients, Texts};
use crate::losses::loss::{LossBatch, LossOutput};
use crate::losses::nesting::Nesting;
use rankforge_kernels::ops::{
    self, ContrastGuide, ContrastScores, Epilogue, InputGradient, OwnColumns, Store, WeightGradient,
};
use rankforge_kernels::{Buffer, Precision, View};
use std::ops::Range;

/// The factors that turn scores into logits, for texts of the anchor's own row of the batch and of
/// others; `None` leaves texts out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Factors {
    /// Of the text of the own row in the first column that is compared.
    pub(super) first: Option<f64>,
    /// Of the texts of the own row in further columns.
    pub(super) further: Option<f64>,
    /// Of the texts of other rows.
    pub(super) others: f64,
}

/// Scores of the texts of one column against those of some columns.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Comparison {
    /// Rows of the outputs: one column of the batch.
    pub(super) rows: Range<usize>,
    /// Rows of the outputs: whole columns of the batch.
    pub(super) columns: Range<usize>,
    pub(super) factors: Factors,
}

/// `weight` times the mean over the batch of a cross-entropy, whose candidates are those of all
/// comparisons; the target is the own text in the first column of the first one.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Softmax {
    pub(super) weight: f64,
    pub(super) comparisons: Vec<Comparison>,
}

/// Embeddings of a guide, of unit length: a candidate whose score with an anchor is above the
/// anchor's limit is left out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Guide {
    pub(super) embeddings: Vec<f32>,
    pub(super) dimensions: usize,
    /// One for each row of the batch.
    pub(super) limits: Vec<f32>,
}

/// A sum of softmaxes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Contrast {
    /// Derivative of a logit with respect to its score.
    pub(super) slope: f64,
    /// Whether scores are cosines rather than dot products.
    pub(super) cosine: bool,
    pub(super) softmaxes: Vec<Softmax>,
    pub(super) guide: Option<Guide>,
}

/// Elements of all score matrices that are in memory at once, about.
const BLOCK_ELEMENTS: usize = 1 << 22;

/// Rows of a block are a multiple of this.
const BLOCK_ROWS: usize = 64;

impl Contrast {
    /// The loss of whole embeddings.
    pub(super) fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.compute_nested(batch, &[Nesting { dimensions: batch.outputs.columns, weight: 1.0 }])
    }

    /// The sum over `nestings` of weight times the loss of the leading dimensions.
    ///
    /// Dot products of the leading dimensions are those of fewer dimensions plus those of the
    /// segment between: the products of all nestings cost as much as those of the largest. Their
    /// gradients are added up from the largest to the smallest, so the backward products do too.
    ///
    /// Scores are computed for a block of rows at a time, so that no matrix of all scores exists.
    ///
    /// # Panics
    /// With dot products, when the nestings are others than the whole embeddings.
    pub(super) fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
        let rows = batch.rows;
        let texts = Texts::new(batch, self.cosine, nestings);
        let mut gradients = Gradients::new(&texts);
        let mut losses = Buffer::zeros(batch.device, rows, 1);
        let guide = self.guide.as_ref().map(|guide| OnDevice {
            embeddings: Buffer::upload(
                batch.device,
                batch.outputs.rows,
                guide.dimensions,
                &guide.embeddings,
            ),
            limits: Buffer::upload(batch.device, rows, 1, &guide.limits),
        });
        for softmax in &self.softmaxes {
            let mut step = Step::new(&texts, softmax, rows);
            for block in blocks(rows, step.elements_of_row(guide.is_some())) {
                step.products(&block, guide.as_ref());
                step.softmax(&block, self.slope, guide.as_ref(), &mut losses);
                step.backward(&block, &mut gradients);
            }
            step.add_sums(&mut gradients);
        }
        let value = losses.view().to_vec().iter().map(|loss| f64::from(*loss)).sum();
        LossOutput::new(value, gradients.of_outputs(&texts, batch))
    }
}

/// Ranges of rows whose scores are in memory together.
fn blocks(rows: usize, elements_of_row: usize) -> impl Iterator<Item = Range<usize>> {
    let most = (BLOCK_ELEMENTS / elements_of_row.max(1)).max(BLOCK_ROWS);
    let size = rows.div_ceil(rows.div_ceil(most)).next_multiple_of(BLOCK_ROWS);
    (0..rows).step_by(size).map(move |start| start..rows.min(start + size))
}

struct OnDevice {
    embeddings: Buffer,
    limits: Buffer,
}

/// The matrices of a softmax for one block of rows.
struct Step<'a> {
    texts: &'a Texts,
    softmax: &'a Softmax,
    rows: usize,
    /// For each comparison and nesting: products, which become their gradients.
    scores: Vec<Vec<Buffer>>,
    /// Scores of the guide, for each comparison.
    guided: Vec<Buffer>,
    /// For each comparison, the sums of scores times gradients over rows and over columns; a row
    /// for each nesting.
    sums: Vec<[Buffer; 2]>,
    /// Gradients of the texts of the block.
    d_rows: Buffer,
}

impl<'a> Step<'a> {
    fn new(texts: &'a Texts, softmax: &'a Softmax, rows: usize) -> Step<'a> {
        let device = texts.device();
        let nestings = texts.nestings();
        let empty = |_| Buffer::working(device, 0, 0);
        Step {
            texts,
            softmax,
            rows,
            scores: softmax
                .comparisons
                .iter()
                .map(|_| (0..nestings).map(empty).collect())
                .collect(),
            guided: (0..softmax.comparisons.len()).map(empty).collect(),
            sums: softmax
                .comparisons
                .iter()
                .map(|it| [rows, it.columns.len()].map(|n| Buffer::zeros(device, nestings, n)))
                .collect(),
            d_rows: Buffer::working(device, 0, 0),
        }
    }

    /// Elements in memory for one row.
    fn elements_of_row(&self, guided: bool) -> usize {
        let columns: usize = self.softmax.comparisons.iter().map(|it| it.columns.len()).sum();
        columns * (self.texts.nestings() + usize::from(guided))
    }

    /// Dot products of the leading dimensions, and scores of the guide.
    fn products(&mut self, block: &Range<usize>, guide: Option<&OnDevice>) {
        let comparisons = self.softmax.comparisons.iter();
        let buffers = self.scores.iter_mut().zip(&mut self.guided);
        for (comparison, (scores, guided)) in comparisons.zip(buffers) {
            let (rows, columns) = (comparison.block(block), &comparison.columns);
            for index in 0..scores.len() {
                let (smaller, scores) = scores.split_at_mut(index);
                let segment = self.texts.segment(index);
                let scores = scores[0].reshape(rows.len(), columns.len());
                product(segment, &rows, columns, smaller.last().map(Buffer::view), scores);
            }
            if let Some(guide) = guide {
                let guided = guided.reshape(rows.len(), columns.len());
                product(guide.embeddings.view(), &rows, columns, None, guided);
            }
        }
    }

    /// Adds the losses of a block, and replaces the products by their gradients: those of the own
    /// nesting and of all larger ones, as the segment is part of these too.
    fn softmax(
        &mut self,
        block: &Range<usize>,
        slope: f64,
        guide: Option<&OnDevice>,
        losses: &mut Buffer,
    ) {
        let (rows, texts) = (self.rows, self.texts);
        for nesting in (0..texts.nestings()).rev() {
            let weight = self.softmax.weight * texts.weight(nesting) / rows as f64;
            let factors = texts.factors(nesting);
            let comparisons = self.softmax.comparisons.iter().zip(&self.guided);
            let buffers = self.scores.iter_mut().zip(&mut self.sums);
            let scores = comparisons.zip(buffers).map(|((comparison, guided), (scores, sums))| {
                let columns = comparison.columns.clone();
                let [by_row, by_column] = sums.each_mut().map(|sums| sums.view_mut());
                let (scores, larger) = scores[nesting..].split_at_mut(1);
                ContrastScores {
                    products: scores[0].view_mut(),
                    larger: larger.first().map(Buffer::view),
                    row_factors: factors.slice_rows(comparison.block(block)),
                    column_factors: factors
                        .slice_rows(columns.clone())
                        .with_shape(1, columns.len()),
                    own: comparison.factors.own_columns(block.start, rows),
                    guide: guide.map(|guide| ContrastGuide {
                        scores: guided.view(),
                        limits: guide.limits.view().slice_rows(block.clone()),
                    }),
                    row_sums: by_row
                        .slice_rows(nesting..nesting + 1)
                        .with_shape(rows, 1)
                        .slice_rows(block.clone()),
                    column_sums: by_column.slice_rows(nesting..nesting + 1),
                }
            });
            let losses = losses.view_mut().slice_rows(block.clone());
            ops::contrast(slope as f32, weight as f32, scores.collect(), losses);
        }
    }

    /// Adds the gradients of the texts through the products.
    fn backward(&mut self, block: &Range<usize>, gradients: &mut Gradients) {
        for (comparison, scores) in self.softmax.comparisons.iter().zip(&self.scores) {
            let (rows, columns) = (comparison.block(block), &comparison.columns);
            for (index, scores) in scores.iter().enumerate() {
                let segment = self.texts.segment(index);
                let d_segment = gradients.segment(index);
                let d_rows = self.d_rows.reshape(rows.len(), segment.columns());
                let input = InputGradient {
                    weight: segment.slice_rows(columns.clone()),
                    store: Store::Write,
                    d_x: d_rows.view_mut(),
                };
                let weight = WeightGradient {
                    x: segment.slice_rows(rows.clone()),
                    d_weight: d_segment.view_mut().slice_rows(columns.clone()),
                    d_bias: None,
                };
                let exact = Precision::Float32;
                ops::linear_backward(scores.view(), exact, Some(input), Some(weight));
                let d_texts = d_segment.view_mut().slice_rows(rows.clone());
                ops::add(d_rows.view(), d_texts);
            }
        }
    }

    /// Adds the sums over all blocks.
    fn add_sums(&self, gradients: &mut Gradients) {
        for (comparison, [by_row, by_column]) in self.softmax.comparisons.iter().zip(&self.sums) {
            for (texts, sums) in [(&comparison.rows, by_row), (&comparison.columns, by_column)] {
                gradients.add_sums(texts, &sums.view().to_vec());
            }
        }
    }
}

impl Comparison {
    /// The rows of the outputs that stand for a block of rows of the batch.
    fn block(&self, block: &Range<usize>) -> Range<usize> {
        self.rows.start + block.start..self.rows.start + block.end
    }
}

impl Factors {
    /// All texts count, with one factor.
    pub(super) fn all(factor: f64) -> Factors {
        Factors { first: Some(factor), further: Some(factor), others: factor }
    }

    fn own_columns(&self, start: usize, period: usize) -> OwnColumns {
        let narrow = |factor: Option<f64>| factor.map(|factor| factor as f32);
        OwnColumns {
            start,
            period,
            first: narrow(self.first),
            further: narrow(self.further),
            others: self.others as f32,
        }
    }
}

/// `out = x yᵀ + before`, where `x` and `y` are rows of `texts`.
fn product(
    texts: View<'_>,
    rows: &Range<usize>,
    columns: &Range<usize>,
    before: Option<View<'_>>,
    out: &mut Buffer,
) {
    let (x, y) = (texts.slice_rows(rows.clone()), texts.slice_rows(columns.clone()));
    let epilogue = Epilogue { residual: before, ..Epilogue::default() };
    ops::linear(x, y, Precision::Float32, epilogue, out.view_mut());
}
