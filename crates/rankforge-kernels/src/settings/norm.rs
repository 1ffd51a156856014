/// The least divisor of a row: `torch.nn.functional.normalize`'s default.
pub const SMALLEST_NORM: f32 = 1e-12;

/// The same for similarities, whose sums are in `f64`.
pub(crate) const LEAST_NORM: f64 = 1e-12;
