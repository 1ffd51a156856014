use crate::{Ragged, View, ViewMut};

/// How the tokens of a sequence become one vector, as in sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The first token.
    Cls,
    /// Elementwise maximum.
    Max,
    /// Arithmetic mean.
    Mean,
    /// Sum over the square root of the length.
    MeanSqrtLen,
    /// Mean weighted by position, 1 for the first token.
    WeightedMean,
    /// The last token.
    LastToken,
}

/// Pools each sequence into columns `column .. column + H` of its row of `out`.
///
/// The first `skip` tokens of each sequence (a prompt) are left out of every mode but `Cls`.
/// A sequence with no token left gives zeros.
///
/// # Shapes
/// `x`: `T x H`; `out`: `B x W` with `W >= column + H`.
pub fn pool(
    mode: Pooling,
    x: View<'_>,
    ragged: &Ragged,
    skip: usize,
    column: usize,
    out: ViewMut<'_>,
) {
    unimplemented!()
}

/// Backward of [`pool`], added to `d_x`; needs the input (for `Max`).
///
/// # Shapes
/// `d_out`: `B x W`; `x`, `d_x`: `T x H`.
pub fn pool_backward(
    mode: Pooling,
    d_out: View<'_>,
    x: View<'_>,
    ragged: &Ragged,
    skip: usize,
    column: usize,
    d_x: ViewMut<'_>,
) {
    unimplemented!()
}
