use crate::device::Kind;
use crate::settings::contrast::{ContrastGuideOf, ContrastScoresOf, OwnColumns};
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// Scores of `R` texts against `M` texts, as [`contrast`] takes them. The score of row `r` and
/// column `c` is `products[r, c] * row_factors[r] * column_factors[c]`: a cosine where the factors
/// are the inverse lengths, a dot product where they are 1.
pub struct ContrastScores<'a> {
    /// Dot products, `R x M`. Replaced by the gradient of the losses with respect to them, at fixed
    /// factors.
    pub products: ViewMut<'a>,
    /// Added to that gradient: those of nestings that these products are part of, `R x M`.
    pub larger: Option<View<'a>>,
    /// `R x 1`.
    pub row_factors: View<'a>,
    /// `1 x M`.
    pub column_factors: View<'a>,
    /// Which columns a row owns, and the factors of logits.
    pub own: OwnColumns,
    /// Columns to leave out.
    pub guide: Option<ContrastGuide<'a>>,
    /// Receives for each row the sum over its columns of score times gradient of the score: what
    /// the gradient of the row's factor follows from. `R x 1`.
    pub row_sums: ViewMut<'a>,
    /// The same for each column, added. `1 x M`.
    pub column_sums: ViewMut<'a>,
}

/// Scores of another model: where one is above the limit of its row, the column is left out.
#[derive(Clone, Copy)]
pub struct ContrastGuide<'a> {
    /// `R x M`.
    pub scores: View<'a>,
    /// `R x 1`.
    pub limits: View<'a>,
}

/// `losses[r] += weight * (logsumexp(logits of row r) - logit of its target)`: one softmax over the
/// columns of all matrices of `scores`. The target is the first column that the row owns in the
/// first matrix; a guide does not leave it out. `slope` is the derivative of a logit with respect
/// to its score.
///
/// # Shapes
/// Those of [`ContrastScores`], with the same `R`; `losses`: `R x 1`.
///
/// # Panics
/// When the shapes differ from these, there are no scores, or a row has no target.
///
/// # Paper
/// van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding,
/// arXiv:1807.03748.
pub fn contrast(slope: f32, weight: f32, scores: Vec<ContrastScores<'_>>, losses: ViewMut<'_>) {
    let rows = losses.rows();
    losses.expect_shape("losses", rows, 1);
    let first = scores.first().expect("at least one matrix of scores");
    let last = first.own.start + rows;
    let columns = first.products.columns();
    assert!(
        last <= columns && first.own.first.is_some(),
        "the targets of {rows} rows end at column {last} of {columns}"
    );
    scores.iter().for_each(|scores| scores.check(rows));
    let device = losses.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let scores = scores
                .into_iter()
                .map(|it| it.on(|view| view.host(device), |view| view.host(device)))
                .collect();
            cpu::contrast::contrast(cpu, slope, weight, scores, losses.host(device));
        }
        Kind::Reference(_) => {
            let scores = scores
                .into_iter()
                .map(|it| it.on(|view| view.reference(device), |view| view.reference(device)))
                .collect();
            reference::contrast::contrast(slope, weight, scores, losses.reference(device));
        }
    }
}

impl<'a> ContrastScores<'a> {
    fn check(&self, rows: usize) {
        let columns = self.products.columns();
        self.products.expect_shape("products", rows, columns);
        if let Some(larger) = &self.larger {
            larger.expect_shape("gradients of larger nestings", rows, columns);
        }
        self.row_factors.expect_shape("row_factors", rows, 1);
        self.column_factors.expect_shape("column_factors", 1, columns);
        self.row_sums.expect_shape("row_sums", rows, 1);
        self.column_sums.expect_shape("column_sums", 1, columns);
        if let Some(guide) = &self.guide {
            guide.scores.expect_shape("scores of the guide", rows, columns);
            guide.limits.expect_shape("limits", rows, 1);
        }
        assert!(self.own.period > 0, "own columns at a distance of 0");
    }

    fn on<V, M>(
        self,
        view: impl Fn(View<'a>) -> V,
        view_mut: impl Fn(ViewMut<'a>) -> M,
    ) -> ContrastScoresOf<V, M> {
        ContrastScoresOf {
            products: view_mut(self.products),
            larger: self.larger.map(&view),
            row_factors: view(self.row_factors),
            column_factors: view(self.column_factors),
            own: self.own,
            guide: self.guide.map(|guide| ContrastGuideOf {
                scores: view(guide.scores),
                limits: view(guide.limits),
            }),
            row_sums: view_mut(self.row_sums),
            column_sums: view_mut(self.column_sums),
        }
    }
}
