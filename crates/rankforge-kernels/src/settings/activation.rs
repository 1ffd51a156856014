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

impl Gate {
    /// The function of the first half.
    pub(crate) fn activation(self) -> Activation {
        match self {
            Gate::GeGlu => Activation::Gelu,
            Gate::GeGluTanh => Activation::GeluTanh,
            Gate::SwiGlu => Activation::Silu,
        }
    }
}
