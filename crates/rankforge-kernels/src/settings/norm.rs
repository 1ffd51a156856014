/// Smaller norms count as this one, as `torch.nn.functional.normalize` has it.
pub(crate) const SMALLEST_NORM: f32 = 1e-12;

/// The same for similarities, whose sums are in `f64`.
pub(crate) const LEAST_NORM: f64 = 1e-12;
