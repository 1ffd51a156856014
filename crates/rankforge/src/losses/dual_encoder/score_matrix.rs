use crate::losses::loss::{LossBatch, LossOutput};
use rankforge_encoder::Outputs;
use rankforge_kernels::ops::{
    Epilogue, InputGradient, Similarity, Store, WeightGradient, linear, linear_backward, normalize,
    normalize_backward,
};
use rankforge_kernels::{Buffer, Precision, Workers};
use std::ops::Range;

/// Scores of anchors (rows) against candidates (columns). A loss replaces each score by the
/// derivative of its value with respect to that score.
pub struct ScoreMatrix<'a> {
    columns: usize,
    values: Vec<f32>,
    workers: &'a Workers,
}

impl ScoreMatrix<'_> {
    /// Number of anchors.
    pub fn rows(&self) -> usize {
        self.values.len() / self.columns.max(1)
    }

    /// Number of candidates.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// All scores, row-major.
    pub fn values_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }

    /// Calls `loss(row, scores)` for each row, in parallel, and returns the mean of its values.
    /// `loss` must replace the scores of the row by the gradient of that mean, including the factor
    /// `1 / rows`.
    ///
    /// The result does not depend on the number of threads.
    pub fn mean_over_rows(&mut self, loss: impl Fn(usize, &mut [f32]) -> f64 + Sync) -> f64 {
        let rows = self.rows();
        let values =
            self.workers.map_chunks_mut(&mut self.values, self.columns.max(1), |row, scores| {
                loss(row, scores)
            });
        values.iter().sum::<f64>() / rows as f64
    }
}

/// Which embeddings of a batch are compared, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Compared {
    /// Rows of the outputs that are anchors.
    pub anchors: Range<usize>,
    /// Rows of the outputs that are candidates. The range may overlap that of the anchors.
    pub candidates: Range<usize>,
    /// Cosine or dot product.
    pub similarity: Similarity,
}

/// Computes a loss that is a function of the scores `S = A Cᵀ` of anchors `A` and candidates `C`.
/// `loss` returns its value and replaces `S` by the gradient of that value. The scores and the
/// gradients of the embeddings are three matrix products on the device of the batch. With cosine
/// similarity, the gradient of a zero embedding is zero ([`normalize_backward`]).
///
/// # Shapes
/// Outputs `N x E`; `S` has a row for each anchor and a column for each candidate.
///
/// # Panics
/// When a range is outside the outputs, or the similarity is a distance.
pub fn over_scores(
    batch: &LossBatch<'_>,
    compared: &Compared,
    loss: impl FnOnce(&mut ScoreMatrix<'_>) -> f64,
) -> LossOutput {
    let (outputs, device) = (batch.outputs, batch.device);
    let Compared { anchors, candidates, similarity } = compared;
    let cosine = match similarity {
        Similarity::Cosine => true,
        Similarity::Dot => false,
        Similarity::Euclidean | Similarity::Manhattan => {
            panic!("a score matrix is one of products, not of the distance {similarity:?}")
        }
    };
    let (rows, width) = (outputs.rows, outputs.columns);
    let embeddings = Buffer::upload(device, rows, width, &outputs.values);
    let (mut units, mut norms) = (Buffer::zeros(device, 0, 0), Buffer::zeros(device, rows, 1));
    if cosine {
        normalize(embeddings.view(), units.reshape(rows, width).view_mut(), norms.view_mut());
    }
    let vectors = if cosine { units.view() } else { embeddings.view() };
    let anchor_rows = vectors.slice_rows(anchors.clone());
    let candidate_rows = vectors.slice_rows(candidates.clone());
    let mut scores = Buffer::zeros(device, anchors.len(), candidates.len());
    let exact = Precision::Float32;
    linear(anchor_rows, candidate_rows, exact, Epilogue::default(), scores.view_mut());

    let workers = device.workers();
    let values = scores.view().to_vec();
    let mut matrix = ScoreMatrix { columns: candidates.len(), values, workers };
    let value = loss(&mut matrix);
    scores.view_mut().write(&matrix.values);

    let mut d_anchors = Buffer::zeros(device, anchors.len(), width);
    let mut d_compared = Buffer::zeros(device, rows, width);
    let input =
        InputGradient { weight: candidate_rows, store: Store::Write, d_x: d_anchors.view_mut() };
    let weight = WeightGradient {
        x: anchor_rows,
        d_weight: d_compared.view_mut().slice_rows(candidates.clone()),
        d_bias: None,
    };
    linear_backward(scores.view(), exact, Some(input), Some(weight));
    let target = d_compared.view_mut().slice_rows(anchors.clone());
    rankforge_kernels::ops::add(d_anchors.view(), target);
    let values = if cosine {
        let mut d_embeddings = Buffer::zeros(device, rows, width);
        let (d_units, out) = (d_compared.view(), units.view());
        normalize_backward(d_units, out, norms.view(), d_embeddings.view_mut());
        d_embeddings.view().to_vec()
    } else {
        d_compared.view().to_vec()
    };
    let d_outputs = Outputs { rows, columns: width, values };
    LossOutput::new(value, d_outputs)
}
