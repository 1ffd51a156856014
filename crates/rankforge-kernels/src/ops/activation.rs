use crate::{View, ViewMut};

/// An elementwise function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x`.
    Identity,
    /// `x Φ(x)` with the error function (Hendrycks & Gimpel 2016, arXiv:1606.08415).
    Gelu,
    /// The tanh approximation of gelu.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `x σ(x)`.
    Silu,
    /// `1 / (1 + e^-x)`.
    Sigmoid,
}

/// A gated MLP's elementwise part: `out = function(x[..F]) * x[F..]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// With exact gelu (Shazeer 2020, arXiv:2002.05202).
    GeGlu,
    /// With tanh gelu.
    GeGluTanh,
    /// With silu.
    SwiGlu,
}

/// `out = function(x)`, elementwise.
pub fn activate(function: Activation, x: View<'_>, out: ViewMut<'_>) {
    unimplemented!()
}

/// `d_x = d_out * function'(x)`; `x` is the input of the forward pass.
pub fn activate_backward(function: Activation, d_out: View<'_>, x: View<'_>, d_x: ViewMut<'_>) {
    unimplemented!()
}

/// `out = gate(x[.., ..F]) * x[.., F..]`.
///
/// # Shapes
/// `x`: `T x 2F`; `out`: `T x F`.
pub fn gated(gate: Gate, x: View<'_>, out: ViewMut<'_>) {
    unimplemented!()
}

/// Backward of [`gated`]; needs its input.
///
/// # Shapes
/// `d_out`: `T x F`; `x`, `d_x`: `T x 2F`.
pub fn gated_backward(gate: Gate, d_out: View<'_>, x: View<'_>, d_x: ViewMut<'_>) {
    unimplemented!()
}
