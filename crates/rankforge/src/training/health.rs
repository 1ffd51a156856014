//! Figures that are not finite, steps that are skipped for them, and parameters that no gradient reaches.

use crate::Error;
use crate::training::run::Run;
use rankforge_encoder::{Reporter, Trainable};
use rankforge_kernels::{Arena, ParameterId, ops};

impl<M: Trainable> Run<'_, M> {
    /// The factor on the loss of the step at hand; 1 but in fp16.
    pub(super) fn loss_scale(&self) -> f64 {
        self.loss_scaler.as_ref().map_or(1.0, |scaler| f64::from(scaler.scale))
    }

    /// Leaves a step out whose loss or gradients overflowed in fp16: parameters, moments and
    /// schedule stay as they are, the loss scale shrinks.
    ///
    /// # Errors
    /// A figure that is not finite without a loss scale, or at the smallest one.
    pub(super) fn skip(&mut self, loss: f64, grad_norm: f64, rows: &[usize]) -> Result<(), Error> {
        let (what, value) = match loss.is_finite() {
            true => ("gradient norm", grad_norm),
            false => ("loss", loss),
        };
        let Some(scaler) = &mut self.loss_scaler else {
            return Err(self.not_finite(what, value, rows));
        };
        let before = scaler.scale;
        scaler.update(false);
        let (scale, exhausted) = (scaler.scale, scaler.is_exhausted());
        if exhausted {
            return Err(self.not_finite(what, value, rows));
        }
        self.position.skipped_steps += 1;
        self.gradients.flat_mut().fill(0.0);
        self.reporter.message(&format!(
            "step {} is skipped: its {what} is {value} at a loss scale of {before}, which is {scale} \
             from now on",
            self.state.global_step + 1
        ));
        Ok(())
    }

    /// The error for a figure that is not finite, in the step after the current one.
    pub(super) fn not_finite(&self, what: &str, value: f64, rows: &[usize]) -> Error {
        let rows: Vec<String> = rows.iter().map(|row| (row + 1).to_string()).collect();
        let checkpoint = match &self.last_checkpoint {
            Some(path) => format!("the last good checkpoint is {}", path.display()),
            None => "no checkpoint has been written yet".to_owned(),
        };
        let shrunk = match self.loss_scaler {
            Some(_) => {
                " (at every loss scale that was tried: what overflows fp16 here is not the \
                 gradients alone, and bf16 has the range of fp32)"
            }
            None => "",
        };
        Error::NotFinite(format!(
            "the {what} is {value} in step {} (epoch {:.2}){shrunk}, training rows {}; {checkpoint}",
            self.state.global_step + 1,
            self.state.epoch,
            rows.join(", ")
        ))
    }
}

/// Checks after the first backward pass that every parameter was reached.
///
/// The gradients began as negative zeros, which no sum of real contributions leaves behind, so a
/// parameter that still holds only those was never added to: an error. So is a matrix whose
/// gradients were added and are all zero while others are not. A vector may be zero for a reason
/// (a score's bias under a loss of score differences): that is a warning.
///
/// # Errors
/// The first parameter without a gradient.
pub(super) fn check_gradients(
    gradients: &Arena,
    grad_norm: f64,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    for (index, entry) in gradients.layout().entries().iter().enumerate() {
        let zeros = ops::zeros(gradients.view(ParameterId(index)));
        if zeros.all_negative || (zeros.all && entry.rows > 1 && grad_norm > 0.0) {
            return Err(Error::Input(format!(
                "parameter {} ({} x {}) received no gradient in the first step, so it could never \
                 be trained",
                entry.name, entry.rows, entry.columns
            )));
        }
        if zeros.all && grad_norm > 0.0 {
            reporter.warning(&format!(
                "the gradient of {} is exactly zero in the first step",
                entry.name
            ));
        }
    }
    if grad_norm == 0.0 {
        reporter.warning("all gradients are exactly zero in the first step");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rankforge_encoder::Silent;
    use rankforge_kernels::{ArenaLayout, Device};
    use std::sync::Arc;

    /// A matrix and a vector that hold `matrix` and `vector` everywhere.
    fn gradients(matrix: f32, vector: f32) -> Arena {
        let mut layout = ArenaLayout::new();
        let weight = layout.push("weight", 2, 3);
        let bias = layout.push("bias", 1, 3);
        let device = Device::cpu(Some(1)).expect("one thread starts");
        let mut arena = Arena::zeros(&device, Arc::new(layout));
        arena.view_mut(weight).fill(matrix);
        arena.view_mut(bias).fill(vector);
        arena
    }

    #[test]
    fn a_parameter_that_nothing_was_added_to_is_named() {
        assert!(check_gradients(&gradients(0.5, 0.5), 1.0, &Silent).is_ok());
        for (matrix, vector, name) in [(-0.0, 0.5, "weight"), (0.5, -0.0, "bias")] {
            let error = check_gradients(&gradients(matrix, vector), 1.0, &Silent).unwrap_err();
            assert!(error.to_string().contains(&format!("parameter {name} (")), "{error}");
        }
    }

    #[test]
    fn a_zero_matrix_is_an_error_and_a_zero_vector_is_not() {
        assert!(check_gradients(&gradients(0.0, 0.5), 1.0, &Silent).is_err());
        assert!(check_gradients(&gradients(0.5, 0.0), 1.0, &Silent).is_ok());
        assert!(check_gradients(&gradients(0.0, 0.0), 0.0, &Silent).is_ok(), "a loss of zero");
    }
}
