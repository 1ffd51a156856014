use crate::losses::{Loss, LossBatch, LossOutput};
use crate::training::batches::PreparedBatch;
use rankforge_encoder::{Batch, BatchBudget, Mode, Model, Outputs, Tokens, Workspace};
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
        let chunks = chunks(&batch.tokens, budget);
        let mode = |chunk: usize| Mode::Training {
            seed: batch.draw.seed,
            step: batch.draw.step,
            chunk: chunk as u64,
        };
        let single = chunks.len() == 1;
        let layers = layers(model, loss, batch);
        let mut outputs = Outputs::default();
        for (index, chunk) in chunks.iter().enumerate() {
            let ragged = ragged_batch(model, batch, chunk, &layers);
            outputs.append(model.forward(&ragged, mode(index), single, &mut self.workspace));
        }
        let mut result = loss.compute(&loss_batch(model, batch, &outputs, &layers));
        if !result.value.is_finite() {
            return result;
        }
        result.d_outputs.values.iter_mut().for_each(|gradient| *gradient *= scale);
        for (index, chunk) in chunks.iter().enumerate() {
            let ragged = ragged_batch(model, batch, chunk, &layers);
            if !single {
                model.forward(&ragged, mode(index), true, &mut self.workspace);
            }
            let d_outputs = result.d_outputs.rows(chunk.clone());
            let Self { workspace, gradients } = self;
            model.backward(&d_outputs, &ragged, mode(index), workspace, gradients);
        }
        result
    }

    /// Value of the loss on a batch, without dropout and without gradients of the parameters.
    pub fn loss(
        &mut self,
        model: &Model,
        loss: &dyn Loss,
        batch: &PreparedBatch,
        budget: BatchBudget,
    ) -> LossOutput {
        let layers = layers(model, loss, batch);
        let mut outputs = Outputs::default();
        for chunk in chunks(&batch.tokens, budget) {
            let ragged = ragged_batch(model, batch, &chunk, &layers);
            outputs.append(model.forward(&ragged, Mode::Inference, false, &mut self.workspace));
        }
        loss.compute(&loss_batch(model, batch, &outputs, &layers))
    }
}

/// Consecutive chunks within the budget; at least one, even without sequences.
fn chunks(sequences: &[Tokens], budget: BatchBudget) -> Vec<Range<usize>> {
    let mut chunks = budget.split(sequences.iter().map(|sequence| sequence.ids.len()));
    if chunks.is_empty() {
        chunks.push(0..0);
    }
    chunks
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

fn ragged_batch(
    model: &Model,
    batch: &PreparedBatch,
    chunk: &Range<usize>,
    layers: &[usize],
) -> Batch {
    let sequences = &batch.tokens[chunk.clone()];
    Batch::new(model.device(), sequences, &model.architecture().encoder).with_layers(layers)
}
