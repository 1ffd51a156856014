use crate::{View, ViewMut};

/// One step of AdamW with decoupled weight decay (Loshchilov & Hutter 2019, arXiv:1711.05101).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the square root of the second moment.
    pub epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Number of this step, from 1, for bias correction.
    pub step: u64,
    /// Factor on the gradients: gradient clipping.
    pub gradient_scale: f32,
}

/// `θ ← θ (1 - lr·wd)`, moments updated with `g·gradient_scale`, then
/// `θ ← θ - lr · (m / (1-β₁ᵗ)) / (sqrt(v / (1-β₂ᵗ)) + ε)`; one fused pass, as PyTorch's `adamw_torch_fused`.
///
/// # Shapes
/// All four of the same shape.
pub fn adamw(
    config: &AdamW,
    gradients: View<'_>,
    parameters: ViewMut<'_>,
    first_moment: ViewMut<'_>,
    second_moment: ViewMut<'_>,
) {
    unimplemented!()
}

/// `Σ x²`, summed in f64 over blocks of fixed size; not finite when any number is not.
pub fn sum_of_squares(x: View<'_>) -> f64 {
    unimplemented!()
}
