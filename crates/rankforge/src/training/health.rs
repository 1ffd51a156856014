//! Checks of losses and gradients: values that are not finite, steps that are skipped because of
//! them, and parameters that receive no gradient.

use crate::error::{Error, NotFinite, SetRows};
use crate::training::epoch::SetBatch;
use crate::training::run::Run;
use rankforge_base::Reporter;
use rankforge_encoder::TextModel;
use rankforge_kernels::{Arena, ParameterId, ops};

impl<M: TextModel> Run<'_, M> {
    /// The loss scale of the current step; 1 unless the run computes in fp16.
    pub(super) fn loss_scale(&self) -> f64 {
        self.loss_scaler.as_ref().map_or(1.0, |scaler| f64::from(scaler.scale))
    }

    /// Skips a step whose loss or gradients overflowed in fp16: parameters, moments and schedule do
    /// not change, and the loss scale shrinks.
    ///
    /// # Errors
    /// The run has no loss scale, or the scale has reached its minimum.
    pub(super) fn skip(
        &mut self,
        loss: f64,
        grad_norm: f64,
        batches: &[SetBatch],
    ) -> Result<(), Error> {
        let (what, value) = match loss.is_finite() {
            true => ("gradient norm", grad_norm),
            false => ("loss", loss),
        };
        let Some(scaler) = &mut self.loss_scaler else {
            return Err(self.not_finite(what, value, batches).into());
        };
        let before = scaler.scale;
        scaler.update(false);
        let (scale, exhausted) = (scaler.scale, scaler.is_exhausted());
        if exhausted {
            return Err(self.not_finite(what, value, batches).into());
        }
        self.position.skipped_steps += 1;
        self.cache.gradients.flat_mut().fill(0.0);
        self.optimizer.clear_gradients();
        self.setup.parts.reporter.message(&format!(
            "step {} is skipped: its {what} is {value} at a loss scale of {before}, which is \
             {scale} from now on",
            self.state.global_step + 1
        ));
        Ok(())
    }

    /// The error for a loss or gradient norm that is not finite. It occurs in the step after
    /// `global_step`, which counts completed steps.
    pub(super) fn not_finite(
        &self,
        what: &'static str,
        value: f64,
        batches: &[SetBatch],
    ) -> NotFinite {
        let sets = self.setup.parts.train_sets;
        let mut rows: Vec<SetRows> = Vec::new();
        for SetBatch { set, rows: indices } in batches {
            let set = &sets[*set].name;
            let numbers = indices.iter().map(|row| row + 1);
            match rows.iter_mut().find(|known| known.set == *set) {
                Some(known) => known.rows.extend(numbers),
                None => rows.push(SetRows { set: set.clone(), rows: numbers.collect() }),
            }
        }
        NotFinite {
            what,
            value,
            step: self.state.global_step + 1,
            epoch: self.state.epoch,
            rows,
            checkpoint: self.last_checkpoint.clone(),
            scaled: self.loss_scaler.is_some(),
        }
    }
}

/// Checks after the first backward pass that every trained parameter received a gradient.
///
/// Gradient buffers are initialized with negative zeros, which the backward pass replaces by other
/// values. A gradient of negative zeros only is an error: nothing was added to it. A matrix whose
/// gradient is zero while others are not is an error too. A vector may have a zero gradient for a
/// good reason, such as the bias of a score under a loss of score differences; that is a warning.
/// `starts_at_zero` tells for which parameters a zero gradient is expected.
///
/// # Errors
/// The first parameter without a gradient.
pub(super) fn check_gradients(
    gradients: &Arena,
    starts_at_zero: impl Fn(ParameterId) -> bool,
    grad_norm: f64,
    reporter: &dyn Reporter,
) -> Result<(), Error> {
    for (index, entry) in gradients.layout().entries().iter().enumerate() {
        if !gradients.has(ParameterId(index)) {
            continue;
        }
        let zeros = ops::zeros(gradients.view(ParameterId(index)));
        let expected = starts_at_zero(ParameterId(index));
        if zeros.all_negative || (zeros.all && !expected && entry.rows > 1 && grad_norm > 0.0) {
            return Err(Error::NoGradient {
                parameter: entry.name.clone(),
                rows: entry.rows,
                columns: entry.columns,
            });
        }
        if zeros.all && !expected && grad_norm > 0.0 {
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
    use rankforge_base::Silent;
    use rankforge_kernels::{ArenaLayout, Device};
    use std::sync::Arc;

    /// Gradients of a matrix and a vector, filled with `matrix` and `vector`.
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
    fn the_error_names_a_parameter_without_gradient() {
        let check = |gradients: &Arena, norm| check_gradients(gradients, |_| false, norm, &Silent);
        assert!(check(&gradients(0.5, 0.5), 1.0).is_ok());
        for (matrix, vector, name) in [(-0.0, 0.5, "weight"), (0.5, -0.0, "bias")] {
            let error = check(&gradients(matrix, vector), 1.0).unwrap_err();
            assert!(error.to_string().contains(&format!("parameter {name} (")), "{error}");
        }
    }

    #[test]
    fn a_zero_gradient_is_an_error_for_a_matrix_but_not_for_a_vector() {
        let check = |gradients: &Arena, norm| check_gradients(gradients, |_| false, norm, &Silent);
        assert!(check(&gradients(0.0, 0.5), 1.0).is_err());
        assert!(check(&gradients(0.5, 0.0), 1.0).is_ok());
        assert!(check(&gradients(0.0, 0.0), 0.0).is_ok(), "a loss of zero");
        let first = |id| id == ParameterId(0);
        let expected = |gradients: &Arena| check_gradients(gradients, first, 1.0, &Silent);
        assert!(expected(&gradients(0.0, 0.5)).is_ok());
        assert!(expected(&gradients(-0.0, 0.5)).is_err(), "nothing was added");
    }
}
