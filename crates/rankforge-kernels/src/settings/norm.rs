/// What [`layer_norm_backward`](crate::ops::layer_norm_backward) reads: the gradient of the output,
/// and operands of the forward pass.
///
/// # Shapes
/// `d_out`, `x`: `T x H`; `weight`: `1 x H`; `statistics`: `T x 2`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormBackward<V> {
    /// Gradient of the output.
    pub d_out: V,
    /// Input of the forward pass.
    pub x: V,
    /// Weight.
    pub weight: V,
    /// Statistics that the forward pass computed.
    pub statistics: V,
}

impl<V> LayerNormBackward<V> {
    pub(crate) fn map<W>(self, f: impl Fn(V) -> W) -> LayerNormBackward<W> {
        let LayerNormBackward { d_out, x, weight, statistics } = self;
        LayerNormBackward { d_out: f(d_out), x: f(x), weight: f(weight), statistics: f(statistics) }
    }
}

/// The parameters of a layer norm, with the matrices of a device.
#[derive(Clone, Copy)]
pub(crate) struct LayerNormOf<V> {
    pub(crate) weight: V,
    pub(crate) bias: Option<V>,
    pub(crate) epsilon: f32,
}

/// The least divisor of a row: `torch.nn.functional.normalize`'s default.
pub const SMALLEST_NORM: f32 = 1e-12;

/// The same for similarities, whose sums are in `f64`.
pub(crate) const LEAST_NORM: f64 = 1e-12;
