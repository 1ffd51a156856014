//! An untrained BERT whose attention starts as a word matcher.
//!
//! A few hundred passages are too few for a randomly initialised transformer to learn anything
//! about words. So the reranker starts with the word embeddings that the dual encoder has learned,
//! and with query and key projections that are a multiple of the identity: a token of the question
//! attends to the same and to similar tokens of the passage. The segment embeddings occupy separate
//! dimensions, which the query and key projections ignore. All other parameters are randomly
//! initialised.

use anyhow::Context;
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, TextModel, Tokenizer, Weights};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::path::Path;

const LAYERS: usize = 2;
const HEADS: usize = 4;
const MLP_WIDTH: usize = 256;
const MAX_POSITIONS: usize = 256;
/// Number of trailing dimensions for the segment embeddings; the others are for words.
const SEGMENT_DIMENSIONS: usize = 8;
/// Value of the segment embeddings there: positive for the first text, negative for the second.
const SEGMENT_VALUE: f32 = 0.25;

/// The multiple of the identity in the query and key projections. The larger it is, the more a
/// token attends to similar tokens and the less to others.
const PROJECTION_SCALE: f32 = 1.4;

/// A tensor of the checkpoint: name, shape, elements in row-major order.
type Tensor = (String, [usize; 2], Vec<f32>);

/// Writes an untrained reranker with the word embeddings and the tokenizer of a dual encoder to
/// `directory`, and opens it.
///
/// # Errors
/// If a file cannot be read or written.
pub(crate) fn untrained_reranker(
    first_stage: &DualEncoder,
    first_stage_directory: &Path,
    directory: &Path,
    options: &LoadOptions,
) -> anyhow::Result<CrossEncoder> {
    let words = read_word_embeddings(first_stage_directory)?;
    let tokenizer = first_stage.tokenizer();
    let parent = directory.parent().context("the quickstart's directory has no parent")?;
    let checkpoint = tempfile::tempdir_in(parent).context("cannot write the untrained reranker")?;
    tokenizer.save(checkpoint.path())?;
    let tokenizer = Tokenizer::load(checkpoint.path())?;
    let config = config(words.1[0], words.1[1]);
    write_weights(words, checkpoint.path())?;
    let mut reranker = CrossEncoder::from_config(&config, tokenizer, options)?;
    reranker.model_mut().load("", &Weights::open(checkpoint.path())?)?;
    reranker.save(directory, None)?;
    Ok(CrossEncoder::open_with(directory, options)?)
}

/// The embedding matrix of a static model, under its name in a BERT checkpoint.
fn read_word_embeddings(directory: &Path) -> anyhow::Result<Tensor> {
    let name = "embedding.weight";
    let module = directory.join("0_StaticEmbedding");
    let weights = Weights::open(if module.is_dir() { &module } else { directory })?;
    let shape = weights.shape(name).context("the first stage has no embedding matrix")?;
    let shape = [shape[0], shape[1]];
    Ok(("bert.embeddings.word_embeddings.weight".to_owned(), shape, weights.read(name)?))
}

/// Writes the parameters that are not random.
fn write_weights(words: Tensor, directory: &Path) -> anyhow::Result<()> {
    let width = words.1[1];
    let mut tensors = vec![words, position_embeddings(width), segment_embeddings(width)];
    for layer in 0..LAYERS {
        for projection in ["query", "key"] {
            let name = format!("bert.encoder.layer.{layer}.attention.self.{projection}.weight");
            tensors.push((name, [width, width], scaled_identity(width)));
        }
    }
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(.., values)| values.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        Ok((name, TensorView::new(Dtype::F32, shape.to_vec(), bytes)?))
    });
    let views: Vec<_> = views.collect::<anyhow::Result<_>>()?;
    std::fs::write(directory.join("model.safetensors"), safetensors::serialize(views, None)?)?;
    Ok(())
}

fn config(vocab_size: usize, width: usize) -> Value {
    json!({
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": MLP_WIDTH,
        "max_position_embeddings": MAX_POSITIONS,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        // With so few rows and epochs, dropout costs more quality than it gains.
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12,
        // About 1 / sqrt(width). With BERT's 0.02 the activations of such a narrow model vanish.
        "initializer_range": 0.08,
        "pad_token_id": 0,
        "id2label": { "0": "LABEL_0" },
        "label2id": { "LABEL_0": 0 },
    })
}

/// Zeros, so that a word matches at every position.
fn position_embeddings(width: usize) -> Tensor {
    let name = "bert.embeddings.position_embeddings.weight".to_owned();
    (name, [MAX_POSITIONS, width], vec![0.0; MAX_POSITIONS * width])
}

/// [`SEGMENT_VALUE`] for the first text and its negative for the second in the last
/// [`SEGMENT_DIMENSIONS`] dimensions, zeros elsewhere.
fn segment_embeddings(width: usize) -> Tensor {
    let mut values = vec![0.0; 2 * width];
    values[width - SEGMENT_DIMENSIONS..width].fill(SEGMENT_VALUE);
    values[2 * width - SEGMENT_DIMENSIONS..].fill(-SEGMENT_VALUE);
    ("bert.embeddings.token_type_embeddings.weight".to_owned(), [2, width], values)
}

/// [`PROJECTION_SCALE`] times the identity on the dimensions of words, zeros in those of segments.
fn scaled_identity(width: usize) -> Vec<f32> {
    let mut values = vec![0.0; width * width];
    for dimension in 0..width - SEGMENT_DIMENSIONS {
        values[dimension * width + dimension] = PROJECTION_SCALE;
    }
    values
}
