use crate::device::Kind;
use crate::settings::optimizer::AdamW;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// `θ ← θ (1 - lr·wd)`, moments updated with `g·gradient_scale`, then
/// `θ ← θ - lr · (m / (1-β₁ᵗ)) / (sqrt(v / (1-β₂ᵗ)) + ε)`; one fused pass, as PyTorch's
/// `adamw_torch_fused`, which also leaves the gradients at zero for the next step.
///
/// Before step 1 both moments must be zero, as those of a new arena are: the result is unspecified
/// where they are not. A device need not read them at step 1 (a fresh page that is read before it
/// is written costs a second page fault and a TLB shootdown), nor touch them where the gradient is
/// zero and no weight decays: such a step leaves everything as it is.
///
/// # Shapes
/// All four of the same shape.
///
/// # Panics
/// When the shapes differ, or the step is 0.
pub fn adamw(
    config: &AdamW,
    gradients: ViewMut<'_>,
    parameters: ViewMut<'_>,
    first_moment: ViewMut<'_>,
    second_moment: ViewMut<'_>,
) {
    let (rows, columns) = (parameters.rows(), parameters.columns());
    gradients.expect_shape("gradients", rows, columns);
    first_moment.expect_shape("first_moment", rows, columns);
    second_moment.expect_shape("second_moment", rows, columns);
    assert!(config.step > 0, "AdamW steps count from 1");
    let device = parameters.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (gradients, parameters) = (gradients.host(device), parameters.host(device));
            let (first, second) = (first_moment.host(device), second_moment.host(device));
            cpu::optimizer::adamw(cpu, config, gradients, parameters, first, second);
        }
        Kind::Reference(_) => {
            let gradients = gradients.reference(device);
            let parameters = parameters.reference(device);
            let first = first_moment.reference(device);
            let second = second_moment.reference(device);
            reference::optimizer::adamw(config, gradients, parameters, first, second);
        }
    }
}

/// `Σ x²`, summed in f64 in an order that depends on the shape alone; not finite when any element
/// is not.
///
/// Waits for the device.
pub fn sum_of_squares(x: View<'_>) -> f64 {
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::optimizer::sum_of_squares(cpu, x.host(device)),
        Kind::Reference(_) => reference::optimizer::sum_of_squares(x.reference(device)),
    }
}
