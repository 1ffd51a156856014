/// Which columns of a matrix of scores belong to a row, and how much a score counts as a logit.
///
/// Row `r` owns the columns `start + r`, `start + r + period`, and so on: the texts of its
/// own row of the batch, in columns of `period` texts. A factor turns a score into a logit; `None`
/// leaves the column out of the softmax.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OwnColumns {
    /// The first column that row 0 owns.
    pub start: usize,
    /// Distance of the columns that a row owns.
    pub period: usize,
    /// Factor of the first column that the row owns.
    pub first: Option<f32>,
    /// Factor of the further ones.
    pub further: Option<f32>,
    /// Factor of all other columns.
    pub others: f32,
}

impl OwnColumns {
    /// The columns of a matrix of `columns` that row `row` owns, in order.
    pub(crate) fn of(&self, row: usize, columns: usize) -> impl Iterator<Item = usize> + use<> {
        (self.start + row..columns).step_by(self.period)
    }

    /// The factor of a column that a row owns.
    pub(crate) fn factor(&self, row: usize, column: usize) -> Option<f32> {
        if column == self.start + row { self.first } else { self.further }
    }
}

/// [`ContrastScores`](crate::ops::ContrastScores) with the matrices of a device.
pub(crate) struct ContrastScoresOf<V, M> {
    pub(crate) products: M,
    pub(crate) larger: Option<V>,
    pub(crate) row_factors: V,
    pub(crate) column_factors: V,
    pub(crate) own: OwnColumns,
    pub(crate) guide: Option<ContrastGuideOf<V>>,
    pub(crate) row_sums: M,
    pub(crate) column_sums: M,
}

/// [`ContrastGuide`](crate::ops::ContrastGuide) with the matrices of a device.
#[derive(Clone, Copy)]
pub(crate) struct ContrastGuideOf<V> {
    pub(crate) scores: V,
    pub(crate) limits: V,
}
