//! The tokens of a chunk of gradient caching: those that the arguments name, or those that fit
//! memory.

use crate::arguments::{OptimizerSettings, TrainingArguments, bytes};
use crate::error::Error;
use crate::losses::Draw;
use crate::training::training_set::TrainingSet;
use rankforge_encoder::{Model, TextModel};

/// Maximum number of tokens in a chunk.
///
/// # Errors
/// Too little memory for the parameters and one sequence of the model's maximum length.
pub(super) fn max_tokens_per_chunk(
    model: &impl TextModel,
    arguments: &TrainingArguments,
    train_sets: &[TrainingSet],
) -> Result<Option<usize>, Error> {
    let text = match &arguments.max_memory {
        Some(text) if arguments.auto_find_batch_size => text,
        _ => return Ok(arguments.max_tokens_per_chunk),
    };
    let memory = bytes("max_memory", text)?;
    let per_token = bytes_per_token(model.model(), arguments, train_sets);
    // Some losses train a copy of the model, whose activations stand beside those of the model.
    let copies = train_sets.iter().filter(|set| set.loss.trains_copy()).count() as u64;
    let (models, per_token) = (1 + copies, per_token * (1 + copies.min(1)));
    let fixed = parameter_bytes(model.model(), &arguments.optimizer()?) * models;
    let longest = model.max_length().unwrap_or(1).max(1);
    let needed = fixed + longest as u64 * per_token;
    if memory < needed {
        let expected = format!(
            "at least {} MB, for the parameters and one sequence of {longest} tokens",
            needed.div_ceil(1_000_000)
        );
        return Err(Error::argument("max_memory", expected, text));
    }
    let tokens = usize::try_from((memory - fixed) / per_token).unwrap_or(usize::MAX);
    Ok(Some(arguments.max_tokens_per_chunk.map_or(tokens, |most| most.min(tokens))))
}

/// Bytes of the parameters, and of the gradients and the optimizer's state of those that are
/// trained.
fn parameter_bytes(model: &Model, optimizer: &OptimizerSettings) -> u64 {
    let trained = model.trainable_layout();
    let entries = trained.entries().iter().filter(|entry| entry.offset.is_some());
    let state: usize = entries.map(|entry| optimizer.state_of(entry.rows, entry.columns)).sum();
    let numbers = model.parameters().layout().len() + trained.len() + state;
    (numbers * size_of::<f32>()) as u64
}

/// Bytes of activations and their gradients for each token, and a twentieth more: buffers are
/// rounded up, and operations have working memory.
fn bytes_per_token(
    model: &Model,
    arguments: &TrainingArguments,
    train_sets: &[TrainingSet],
) -> u64 {
    // Every step has as many layers.
    let (blocks, draw) = (model.architecture().encoder.blocks.len(), Draw { seed: 0, step: 0 });
    let layers = train_sets.iter().map(|set| set.loss.layers(draw, blocks).len()).max();
    let recompute = arguments.gradient_checkpointing;
    let numbers = model.activations_per_token(recompute, layers.unwrap_or(0)).max(1) as u64;
    numbers * size_of::<f32>() as u64 * 21 / 20
}
