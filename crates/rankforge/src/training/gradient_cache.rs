use crate::losses::{Loss, LossOutput};
use crate::training::PreparedBatch;
use rankforge_encoder::{Batch, Mode, Model, Outputs, Tokens, Workspace};
use rankforge_kernels::Arena;
use std::ops::Range;

/// How much of a batch is in the model at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Chunking {
    /// Most sequences in a chunk.
    pub mini_batch_size: Option<usize>,
    /// Most tokens in a chunk; a single longer sequence is a chunk of its own.
    pub max_tokens: Option<usize>,
}

impl Chunking {
    /// Cuts sequences into consecutive chunks; at least one, however few there are.
    pub fn split(&self, sequences: &[Tokens]) -> Vec<Range<usize>> {
        let most_sequences = self.mini_batch_size.unwrap_or(usize::MAX);
        let most_tokens = self.max_tokens.unwrap_or(usize::MAX);
        let mut chunks = Vec::new();
        let (mut start, mut tokens) = (0, 0);
        for (index, sequence) in sequences.iter().enumerate() {
            let length = sequence.ids.len();
            let full = index - start >= most_sequences || tokens + length > most_tokens;
            if full && index > start {
                chunks.push(start..index);
                (start, tokens) = (index, 0);
            }
            tokens += length;
        }
        chunks.push(start..sequences.len());
        chunks
    }
}

/// Value of the loss on a batch; adds `scale` times the gradients of all parameters to `gradients`.
///
/// One function for every loss: a batch of one chunk goes forward and backward directly. With more
/// chunks, all go forward without keeping activations, the loss sees all outputs at once, then each
/// chunk goes forward again, keeping, and backward. Memory is that of one chunk; the numbers are
/// those of the whole batch. Dropout is named by (seed, step, chunk), so that both forward passes
/// of a chunk draw the same masks.
///
/// Nothing is added to `gradients` when the loss is not finite.
///
/// # Paper
/// Gao et al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
/// arXiv:2101.06983.
pub fn loss_and_gradients(
    model: &Model,
    loss: &dyn Loss,
    batch: &PreparedBatch,
    chunking: &Chunking,
    scale: f32,
    workspace: &mut Workspace,
    gradients: &mut Arena,
) -> LossOutput {
    let chunks = chunking.split(&batch.tokens);
    let mode = |part: usize| Mode::Training {
        seed: batch.draw.seed,
        step: batch.draw.step,
        part: part as u64,
    };
    let single = chunks.len() == 1;
    let mut outputs = Outputs::default();
    for (part, chunk) in chunks.iter().enumerate() {
        let ragged = ragged_batch(model, batch, chunk);
        append(&mut outputs, model.forward(&ragged, mode(part), single, workspace));
    }
    let mut result = loss.compute(&outputs, batch.plan_rows, &batch.labels);
    if !result.value.is_finite() {
        return result;
    }
    result.d_outputs.values.iter_mut().for_each(|gradient| *gradient *= scale);
    for (part, chunk) in chunks.iter().enumerate() {
        let ragged = ragged_batch(model, batch, chunk);
        if !single {
            model.forward(&ragged, mode(part), true, workspace);
        }
        let d_outputs = rows(&result.d_outputs, chunk);
        model.backward(&d_outputs, &ragged, mode(part), workspace, gradients);
    }
    result
}

/// Value of the loss on a batch, without dropout and without gradients of the parameters.
pub fn loss_without_gradients(
    model: &Model,
    loss: &dyn Loss,
    batch: &PreparedBatch,
    chunking: &Chunking,
    workspace: &mut Workspace,
) -> LossOutput {
    let mut outputs = Outputs::default();
    for chunk in chunking.split(&batch.tokens) {
        let ragged = ragged_batch(model, batch, &chunk);
        append(&mut outputs, model.forward(&ragged, Mode::Inference, false, workspace));
    }
    loss.compute(&outputs, batch.plan_rows, &batch.labels)
}

fn ragged_batch(model: &Model, batch: &PreparedBatch, chunk: &Range<usize>) -> Batch {
    let mut ragged =
        Batch::new(model.device(), &batch.tokens[chunk.clone()], &model.architecture().encoder);
    ragged.prompt_tokens = batch.prompt_tokens;
    ragged
}

fn append(outputs: &mut Outputs, more: Outputs) {
    if outputs.rows == 0 {
        *outputs = more;
        return;
    }
    assert_eq!(outputs.columns, more.columns, "output columns differ between chunks");
    outputs.rows += more.rows;
    outputs.values.extend(more.values);
}

fn rows(outputs: &Outputs, range: &Range<usize>) -> Outputs {
    let columns = outputs.columns;
    let values = outputs.values[range.start * columns..range.end * columns].to_vec();
    Outputs { rows: range.len(), columns, values }
}
