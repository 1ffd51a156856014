use crate::{View, ViewMut};

/// `out = (x - mean) / sqrt(variance + epsilon) * weight + bias`, row by row (Ba et al. 2016, arXiv:1607.06450).
///
/// `statistics` receives mean and reciprocal standard deviation of each row for the backward pass.
///
/// # Shapes
/// `x`, `out`: `T x H`; `weight`, `bias`: `1 x H`; `statistics`: `T x 2`.
pub fn layer_norm(
    x: View<'_>,
    weight: View<'_>,
    bias: Option<View<'_>>,
    epsilon: f32,
    out: ViewMut<'_>,
    statistics: ViewMut<'_>,
) {
    unimplemented!()
}

/// Backward of [`layer_norm`]; needs its input and statistics. `d_x` is added to when `accumulate`.
///
/// # Shapes
/// `d_out`, `x`, `d_x`: `T x H`; `weight`, `d_weight`, `d_bias`: `1 x H`; `statistics`: `T x 2`.
pub fn layer_norm_backward(
    d_out: View<'_>,
    x: View<'_>,
    weight: View<'_>,
    statistics: View<'_>,
    accumulate: bool,
    d_x: ViewMut<'_>,
    d_weight: ViewMut<'_>,
    d_bias: Option<ViewMut<'_>>,
) {
    unimplemented!()
}

/// `out = x / max(|x|, 1e-12)`, row by row; `norms` receives `|x|`.
///
/// # Shapes
/// `x`, `out`: `B x E`; `norms`: `B x 1`.
pub fn normalize(x: View<'_>, out: ViewMut<'_>, norms: ViewMut<'_>) {
    unimplemented!()
}

/// Backward of [`normalize`]; needs its output and norms.
///
/// # Shapes
/// `d_out`, `out`, `d_x`: `B x E`; `norms`: `B x 1`.
pub fn normalize_backward(d_out: View<'_>, out: View<'_>, norms: View<'_>, d_x: ViewMut<'_>) {
    unimplemented!()
}
