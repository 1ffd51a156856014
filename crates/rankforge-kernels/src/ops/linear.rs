use crate::ops::{Activation, Dropout};
use crate::{View, ViewMut};

/// What [`linear`] does to each row block of the product while it is in cache, in this order.
#[derive(Default)]
pub struct Epilogue<'a> {
    /// Added to every row, `1 x N`.
    pub bias: Option<View<'a>>,
    /// Where to keep the sum before the activation, `T x N`, for the backward pass.
    pub pre_activation: Option<ViewMut<'a>>,
    /// Applied to the sum.
    pub activation: Option<Activation>,
    /// Applied after the activation.
    pub dropout: Option<Dropout>,
    /// Added last, `T x N`.
    pub residual: Option<View<'a>>,
}

/// `out = dropout(activation(x weightᵀ + bias)) + residual`.
///
/// # Shapes
/// `x`: `T x K`; `weight`: `N x K`, as PyTorch's `Linear` stores it; `out`: `T x N`.
pub fn linear(x: View<'_>, weight: View<'_>, epilogue: Epilogue<'_>, out: ViewMut<'_>) {
    unimplemented!()
}

/// `d_x = d_out weight`, or `d_x += d_out weight` when `accumulate`.
///
/// # Shapes
/// `d_out`: `T x N`; `weight`: `N x K`; `d_x`: `T x K`.
pub fn linear_backward_input(
    d_out: View<'_>,
    weight: View<'_>,
    accumulate: bool,
    d_x: ViewMut<'_>,
) {
    unimplemented!()
}

/// `d_weight += d_outᵀ x` and `d_bias += column sums of d_out`.
///
/// # Shapes
/// `d_out`: `T x N`; `x`: `T x K`; `d_weight`: `N x K`; `d_bias`: `1 x N`.
pub fn linear_backward_weight(
    d_out: View<'_>,
    x: View<'_>,
    d_weight: ViewMut<'_>,
    d_bias: Option<ViewMut<'_>>,
) {
    unimplemented!()
}
