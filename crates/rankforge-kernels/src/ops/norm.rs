use crate::device::Kind;
use crate::settings::norm::{LayerNormBackward, LayerNormOf};
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// `out = (x - mean) / sqrt(variance + epsilon) * weight + bias`, row by row (Ba et al. 2016,
/// arXiv:1607.06450).
///
/// `statistics` receives the mean and the reciprocal standard deviation of each row, for the
/// backward pass.
///
/// # Shapes
/// `x`, `out`: `T x H`; `weight`, `bias`: `1 x H`; `statistics`: `T x 2`.
///
/// # Panics
/// When the shapes differ from these.
pub fn layer_norm(
    x: View<'_>,
    weight: View<'_>,
    bias: Option<View<'_>>,
    epsilon: f32,
    out: ViewMut<'_>,
    statistics: ViewMut<'_>,
) {
    let (rows, columns) = (x.rows(), x.columns());
    weight.expect_shape("weight", 1, columns);
    out.expect_shape("out", rows, columns);
    statistics.expect_shape("statistics", rows, 2);
    if let Some(bias) = &bias {
        bias.expect_shape("bias", 1, columns);
    }
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (weight, bias) = (weight.host(device), bias.map(|bias| bias.host(device)));
            let norm = LayerNormOf { weight, bias, epsilon };
            let (out, statistics) = (out.host(device), statistics.host(device));
            cpu::norm::layer_norm(cpu, norm, x.host(device), out, statistics);
        }
        Kind::Reference(_) => {
            let (weight, bias) =
                (weight.reference(device), bias.map(|bias| bias.reference(device)));
            let norm = LayerNormOf { weight, bias, epsilon };
            let (out, statistics) = (out.reference(device), statistics.reference(device));
            reference::norm::layer_norm(norm, x.reference(device), out, statistics);
        }
    }
}

/// Backward of [`layer_norm`]; needs its input and statistics. Adds to `d_x` when `accumulate`, and
/// otherwise overwrites it. Gradients of parameters that are not trained may be left out.
///
/// # Shapes
/// `d_x`: `T x H`; `d_weight`, `d_bias`: `1 x H`; the others as [`LayerNormBackward`] says.
///
/// # Panics
/// When the shapes differ from these.
pub fn layer_norm_backward(
    inputs: LayerNormBackward<View<'_>>,
    accumulate: bool,
    d_x: ViewMut<'_>,
    d_weight: Option<ViewMut<'_>>,
    d_bias: Option<ViewMut<'_>>,
) {
    let (rows, columns) = (inputs.x.rows(), inputs.x.columns());
    inputs.d_out.expect_shape("d_out", rows, columns);
    inputs.weight.expect_shape("weight", 1, columns);
    inputs.statistics.expect_shape("statistics", rows, 2);
    d_x.expect_shape("d_x", rows, columns);
    if let Some(d_weight) = &d_weight {
        d_weight.expect_shape("d_weight", 1, columns);
    }
    if let Some(d_bias) = &d_bias {
        d_bias.expect_shape("d_bias", 1, columns);
    }
    let device = inputs.x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (inputs, d_x) = (inputs.map(|view| view.host(device)), d_x.host(device));
            let [d_weight, d_bias] = [d_weight, d_bias].map(|d| d.map(|d| d.host(device)));
            cpu::norm::layer_norm_backward(cpu, inputs, accumulate, d_x, d_weight, d_bias);
        }
        Kind::Reference(_) => {
            let inputs = inputs.map(|view| view.reference(device));
            let d_x = d_x.reference(device);
            let [d_weight, d_bias] = [d_weight, d_bias].map(|d| d.map(|d| d.reference(device)));
            reference::norm::layer_norm_backward(inputs, accumulate, d_x, d_weight, d_bias);
        }
    }
}

/// `out = x / max(|x|, 1e-12)`, row by row; `norms` receives `|x|`.
///
/// # Shapes
/// `x`, `out`: `B x E`; `norms`: `B x 1`.
///
/// # Panics
/// When the shapes differ from these.
pub fn normalize(x: View<'_>, out: ViewMut<'_>, norms: ViewMut<'_>) {
    let (rows, columns) = (x.rows(), x.columns());
    out.expect_shape("out", rows, columns);
    norms.expect_shape("norms", rows, 1);
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            cpu::norm::normalize(cpu, x.host(device), out.host(device), norms.host(device));
        }
        Kind::Reference(_) => {
            let (out, norms) = (out.reference(device), norms.reference(device));
            reference::norm::normalize(x.reference(device), out, norms);
        }
    }
}

/// Backward of [`normalize`], `d_x = (d_out - out (d_out · out)) / |x|`, row by row; needs its
/// output and norms.
///
/// A row whose norm is at most 1e-12 gets zeros: it has no direction, so no cosine to improve.
/// PyTorch gives it the slope of `x / 1e-12`, a trillion times that of a unit vector.
///
/// # Shapes
/// `d_out`, `out`, `d_x`: `B x E`; `norms`: `B x 1`.
///
/// # Panics
/// When the shapes differ from these.
pub fn normalize_backward(d_out: View<'_>, out: View<'_>, norms: View<'_>, d_x: ViewMut<'_>) {
    let (rows, columns) = (out.rows(), out.columns());
    d_out.expect_shape("d_out", rows, columns);
    d_x.expect_shape("d_x", rows, columns);
    norms.expect_shape("norms", rows, 1);
    let device = out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (d_out, out, norms) = (d_out.host(device), out.host(device), norms.host(device));
            cpu::norm::normalize_backward(cpu, d_out, out, norms, d_x.host(device));
        }
        Kind::Reference(_) => {
            let (d_out, out) = (d_out.reference(device), out.reference(device));
            let (norms, d_x) = (norms.reference(device), d_x.reference(device));
            reference::norm::normalize_backward(d_out, out, norms, d_x);
        }
    }
}
