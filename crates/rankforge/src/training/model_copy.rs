//! The second copy of a model, which some losses train with it.

use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::training::batches::PreparedBatch;
use crate::training::gradient_cache::{GradientCache, Part};
use crate::training::named_ranges::{NamedRange, named_ranges};
use crate::training::optimizer::Optimizer;
use rankforge_encoder::Model;
use rankforge_kernels::ops;

/// A copy of the model as it was before the first step, with gradients, activations and an
/// optimizer of its own: as much memory again as the model takes in training.
pub(super) struct ModelCopy {
    pub(super) model: Model,
    cache: GradientCache,
    pub(super) optimizer: Optimizer,
    /// The trained tensors, at their places among all parameters.
    pub(super) places: Vec<NamedRange>,
}

/// The name of a tensor of the copy; sentence-transformers calls the copy `model1`.
pub(super) fn copied(name: &str) -> String {
    format!("model1.{name}")
}

impl ModelCopy {
    /// A copy whose tensors `named` renames. `names` are those of all parameters that are trained.
    ///
    /// # Errors
    /// A pattern of `learning_rate_mapping` that is not a regular expression or matches no
    /// parameter.
    pub(super) fn new(
        model: &Model,
        named: impl Fn(&str) -> String,
        names: &[String],
        arguments: &TrainingArguments,
    ) -> Result<ModelCopy, Error> {
        let mut tensors = named_ranges(model);
        tensors.iter_mut().for_each(|tensor| tensor.name = named(&tensor.name));
        let places = tensors.iter().map(|tensor| {
            let range = tensor.parameters..tensor.parameters + tensor.range.len();
            NamedRange { range, ..tensor.clone() }
        });
        let places = places.collect();
        let (device, layout) = (model.device(), model.trainable_layout());
        Ok(ModelCopy {
            cache: GradientCache::new(model).with_recomputation(arguments.gradient_checkpointing),
            optimizer: Optimizer::new(device, &layout, tensors, names, arguments)?,
            model: model.clone(),
            places,
        })
    }

    /// Whether the gradients are finite.
    pub(super) fn gradients_are_finite(&self) -> bool {
        ops::sum_of_squares(self.cache.gradients.flat()).is_finite()
    }

    /// Resets the gradients.
    pub(super) fn clear_gradients(&mut self) {
        self.cache.gradients.flat_mut().fill(0.0);
    }

    /// Updates the trained parameters and resets the gradients. `gradient_scale` removes the loss
    /// scale from the gradients; they are not clipped.
    pub(super) fn step(&mut self, step: u64, factor: f64, gradient_scale: f32) {
        let ModelCopy { model, cache, optimizer, .. } = self;
        let parameters = model.parameters_mut();
        optimizer.step(&mut cache.gradients, parameters, step, factor, gradient_scale);
    }
}

/// Which model encodes which sequences of a batch: the copy the first half, if there is one. It
/// has no dropout, as sentence-transformers copies a model that is not in training mode.
pub(super) fn parts<'a>(
    model: &'a Model,
    cache: &'a mut GradientCache,
    copy: Option<&'a mut ModelCopy>,
    batch: &PreparedBatch,
) -> Vec<Part<'a>> {
    let sequences = batch.tokens.len();
    let half = if copy.is_some() { sequences / 2 } else { 0 };
    let first = copy.map(|ModelCopy { model, cache, .. }| Part {
        model,
        cache,
        sequences: 0..half,
        dropout: false,
    });
    let rest = Part { model, cache, sequences: half..sequences, dropout: true };
    first.into_iter().chain([rest]).collect()
}
