use crate::reference::matrix::{Matrix, MatrixMut};
use crate::settings::activation::{Activation, Gate};
use std::f64::consts::PI;

/// The function and its derivative at `x`; NaN goes through.
pub(super) fn value_and_slope(function: Activation, x: f64) -> (f64, f64) {
    match function {
        Activation::Identity => (x, 1.0),
        // x Φ(x), and Φ(x) + x φ(x).
        Activation::Gelu => {
            let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
            let cdf = normal_cdf(x);
            (x * cdf, cdf + x * density)
        }
        // x (1 + tanh(u)) / 2 = x σ(2u), with u = sqrt(2/π) (x + 0.044715 x³).
        Activation::GeluTanh => {
            let scale = 2.0 * (2.0 / PI).sqrt();
            let doubled = scale * (x + 0.044715 * x.powi(3));
            let d_doubled = scale * (1.0 + 3.0 * 0.044715 * x * x);
            (x * sigmoid(doubled), sigmoid(doubled) + x * d_doubled * sigmoid_slope(doubled))
        }
        Activation::Relu => match x {
            x if x > 0.0 => (x, 1.0),
            x if x.is_nan() => (x, 0.0),
            _ => (0.0, 0.0),
        },
        // 1 - tanh²(x) = 4 σ'(2x), which does not cancel.
        Activation::Tanh => (x.tanh(), 4.0 * sigmoid_slope(2.0 * x)),
        Activation::Silu => (x * sigmoid(x), sigmoid(x) + x * sigmoid_slope(x)),
        Activation::Sigmoid => (sigmoid(x), sigmoid_slope(x)),
    }
}

/// `σ(x) = 1 / (1 + e^-x)`.
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `σ'(x) = σ(x) σ(-x)`.
fn sigmoid_slope(x: f64) -> f64 {
    sigmoid(x) * sigmoid(-x)
}

/// The distribution function of the standard normal distribution, Φ.
///
/// Near zero by its power series (Abramowitz & Stegun 26.2.11), beyond by the continued fraction of
/// its tail (26.2.14), so that the lower tail keeps its relative accuracy.
fn normal_cdf(x: f64) -> f64 {
    let density = (-0.5 * x * x).exp() / (2.0 * PI).sqrt();
    let magnitude = x.abs();
    let tail = if magnitude < 3.0 {
        let (mut term, mut sum) = (magnitude, magnitude);
        for odd in (3..=121).step_by(2) {
            term *= x * x / f64::from(odd);
            sum += term;
        }
        0.5 - density * sum
    } else {
        let fraction = (1..=200).rev().fold(magnitude, |rest, k| magnitude + f64::from(k) / rest);
        density / fraction
    };
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// `out = function(x)`.
pub(crate) fn activate(function: Activation, x: Matrix<'_>, mut out: MatrixMut<'_>) {
    for (row, column) in x.places() {
        out.put(row, column, value_and_slope(function, x.at(row, column)).0);
    }
}

/// `d_x = d_out function'(x)`.
pub(crate) fn activate_backward(
    function: Activation,
    d_out: Matrix<'_>,
    x: Matrix<'_>,
    mut d_x: MatrixMut<'_>,
) {
    for (row, column) in x.places() {
        let (_, slope) = value_and_slope(function, x.at(row, column));
        d_x.put(row, column, d_out.at(row, column) * slope);
    }
}

/// `out[t, f] = function(x[t, f]) x[t, F + f]`.
pub(crate) fn gated(gate: Gate, x: Matrix<'_>, mut out: MatrixMut<'_>) {
    let width = out.columns;
    for (row, column) in out.places() {
        let (value, _) = value_and_slope(gate.activation(), x.at(row, column));
        out.put(row, column, value * x.at(row, width + column));
    }
}

/// `d_x[t, f] = d_out[t, f] x[t, F + f] function'(x[t, f])` and
/// `d_x[t, F + f] = d_out[t, f] function(x[t, f])`.
pub(crate) fn gated_backward(gate: Gate, d_out: Matrix<'_>, x: Matrix<'_>, mut d_x: MatrixMut<'_>) {
    let width = d_out.columns;
    for (row, column) in d_out.places() {
        let (value, slope) = value_and_slope(gate.activation(), x.at(row, column));
        let (d_out, up) = (d_out.at(row, column), x.at(row, width + column));
        d_x.put(row, column, d_out * up * slope);
        d_x.put(row, width + column, d_out * value);
    }
}
