use crate::losses::{Loss, LossBatch, LossOutput};
use crate::training::batches::PreparedBatch;
use rankforge_encoder::{Batch, BatchBudget, Mode, Model, Outputs, Workspace};
use rankforge_kernels::Arena;
use std::ops::Range;

/// Gradients of all trainable parameters, and the activations that they are computed from, one
/// chunk of a batch at a time.
pub struct GradientCache {
    /// The gradients; each batch adds to them.
    pub gradients: Arena,
    workspace: Workspace,
}

impl GradientCache {
    /// Gradients of zero for the trainable parameters of a model.
    pub fn new(model: &Model) -> GradientCache {
        let gradients = Arena::zeros(model.device(), model.trainable_layout());
        GradientCache { gradients, workspace: Workspace::new(model.device()) }
    }

    /// The same, whose backward passes compute the activations of each block again
    /// ([`Workspace::with_recomputation`]).
    pub fn with_recomputation(mut self, recompute: bool) -> GradientCache {
        self.workspace = self.workspace.with_recomputation(recompute);
        self
    }

    /// Bytes of activations that are held.
    pub fn activations_in_bytes(&self) -> usize {
        self.workspace.capacity_in_bytes()
    }

    /// Value of the loss on a batch; adds `scale` times its gradients to
    /// [`GradientCache::gradients`].
    ///
    /// One function for every loss. A batch of one chunk goes forward and backward directly. With
    /// more chunks, all go forward without keeping activations, the loss sees all outputs at once,
    /// then each chunk goes forward again, keeping, and backward. Memory is that of one chunk; the
    /// numbers are those of the whole batch. Dropout is determined by (seed, step, chunk), so that
    /// both forward passes of a chunk draw the same masks.
    ///
    /// Nothing is added when the loss is not finite.
    ///
    /// # Paper
    /// Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
    /// arXiv:2101.06983.
    pub fn add_gradients(
        &mut self,
        model: &Model,
        loss: &dyn Loss,
        batch: &PreparedBatch,
        budget: BatchBudget,
        scale: f32,
    ) -> LossOutput {
        add_gradients(&mut [Part::all(model, self, batch)], loss, batch, budget, scale)
    }

    /// Value of the loss on a batch, without dropout and without gradients of the parameters.
    pub fn loss(
        &mut self,
        model: &Model,
        loss: &dyn Loss,
        batch: &PreparedBatch,
        budget: BatchBudget,
    ) -> LossOutput {
        loss_of(&mut [Part::all(model, self, batch)], loss, batch, budget)
    }
}

/// Consecutive sequences of a batch, and the model that encodes them.
pub(super) struct Part<'a> {
    pub(super) model: &'a Model,
    pub(super) cache: &'a mut GradientCache,
    pub(super) sequences: Range<usize>,
    /// Whether the model trains with dropout.
    pub(super) dropout: bool,
}

impl<'a> Part<'a> {
    /// All sequences of a batch.
    fn all(model: &'a Model, cache: &'a mut GradientCache, batch: &PreparedBatch) -> Part<'a> {
        Part { model, cache, sequences: 0..batch.tokens.len(), dropout: true }
    }

    /// Chunks of the sequences within the budget; at least one, even without sequences.
    fn chunks(&self, batch: &PreparedBatch, budget: BatchBudget) -> Vec<Range<usize>> {
        let start = self.sequences.start;
        let sequences = &batch.tokens[self.sequences.clone()];
        let mut chunks = budget.split(sequences.iter().map(|sequence| sequence.ids.len()));
        if chunks.is_empty() {
            chunks.push(0..0);
        }
        chunks.into_iter().map(|chunk| start + chunk.start..start + chunk.end).collect()
    }

    /// The mode of a chunk in training.
    fn mode(&self, batch: &PreparedBatch, chunk: usize) -> Mode {
        match self.dropout {
            true => {
                Mode::Training { seed: batch.draw.seed, step: batch.draw.step, chunk: chunk as u64 }
            }
            false => Mode::Inference,
        }
    }

    fn ragged(&self, batch: &PreparedBatch, chunk: &Range<usize>, layers: &[usize]) -> Batch {
        let config = &self.model.architecture().encoder;
        let sequences = &batch.tokens[chunk.clone()];
        Batch::new(self.model.device(), sequences, config).with_layers(layers)
    }
}

/// [`GradientCache::add_gradients`] for a batch whose parts are encoded by models of their own.
pub(super) fn add_gradients(
    parts: &mut [Part<'_>],
    loss: &dyn Loss,
    batch: &PreparedBatch,
    budget: BatchBudget,
    scale: f32,
) -> LossOutput {
    let layers = layers(parts[0].model, loss, batch);
    let mut outputs = Outputs::default();
    for part in &mut *parts {
        let chunks = part.chunks(batch, budget);
        for (index, chunk) in chunks.iter().enumerate() {
            let ragged = part.ragged(batch, chunk, &layers);
            let (mode, keep) = (part.mode(batch, index), chunks.len() == 1);
            outputs.append(part.model.forward(&ragged, mode, keep, &mut part.cache.workspace));
        }
    }
    let mut result = loss.compute(&loss_batch(parts[0].model, batch, &outputs, &layers));
    drop(outputs);
    if !result.value.is_finite() {
        return result;
    }
    if scale != 1.0 {
        result.d_outputs.values.iter_mut().for_each(|gradient| *gradient *= scale);
    }
    for part in parts {
        let chunks = part.chunks(batch, budget);
        for (index, chunk) in chunks.iter().enumerate() {
            let ragged = part.ragged(batch, chunk, &layers);
            let mode = part.mode(batch, index);
            let GradientCache { workspace, gradients } = &mut *part.cache;
            if chunks.len() > 1 {
                part.model.forward(&ragged, mode, true, workspace);
            }
            let all = *chunk == (0..result.d_outputs.rows);
            let cut = (!all).then(|| result.d_outputs.rows(chunk.clone()));
            let d_outputs = cut.as_ref().unwrap_or(&result.d_outputs);
            part.model.backward(d_outputs, &ragged, mode, workspace, gradients);
        }
    }
    result
}

/// [`GradientCache::loss`] for a batch whose parts are encoded by models of their own.
pub(super) fn loss_of(
    parts: &mut [Part<'_>],
    loss: &dyn Loss,
    batch: &PreparedBatch,
    budget: BatchBudget,
) -> LossOutput {
    let layers = layers(parts[0].model, loss, batch);
    let mut outputs = Outputs::default();
    for part in &mut *parts {
        for chunk in part.chunks(batch, budget) {
            let ragged = part.ragged(batch, &chunk, &layers);
            let workspace = &mut part.cache.workspace;
            outputs.append(part.model.forward(&ragged, Mode::Inference, false, workspace));
        }
    }
    loss.compute(&loss_batch(parts[0].model, batch, &outputs, &layers))
}

fn loss_batch<'a>(
    model: &'a Model,
    batch: &'a PreparedBatch,
    outputs: &'a Outputs,
    layers: &'a [usize],
) -> LossBatch<'a> {
    LossBatch {
        outputs,
        rows: batch.plan_rows,
        targets: &batch.targets,
        draw: batch.draw,
        layers,
        parameters: &[],
        device: model.device(),
    }
}

/// The layers whose outputs the loss reads besides those of the last.
fn layers(model: &Model, loss: &dyn Loss, batch: &PreparedBatch) -> Vec<usize> {
    loss.layers(batch.draw, model.architecture().encoder.blocks.len())
}
