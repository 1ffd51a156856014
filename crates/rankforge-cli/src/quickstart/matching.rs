//! An untrained BERT whose attention begins as a matcher of words.
//!
//! A few hundred passages teach a random transformer nothing about words. So it starts with what the
//! first stage has learned, and with a first guess of what a reranker does: the word vectors are
//! those of the dual encoder, and query and key projections are the identity, scaled, so that a word of the
//! question attends to the same and like words of the passage. Which text a token is from stands in
//! dimensions of its own, which attention does not compare but passes on. The rest is random.

use anyhow::Context;
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, Silent, Tokenizer, Weights};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use std::path::Path;

const LAYERS: usize = 2;
const HEADS: usize = 4;
const MLP_WIDTH: usize = 256;
const LONGEST: usize = 256;
/// Trailing dimensions that tell the two texts apart; the others hold words.
const MARKS: usize = 8;
/// What stands in those, with the sign of the text.
const MARK: f32 = 0.25;

/// How much more a word attends to its like than to others.
const SHARPNESS: f32 = 1.4;

/// A tensor of the checkpoint: name, shape, numbers.
type Tensor = (String, [usize; 2], Vec<f32>);

/// Writes the untrained reranker over a dual encoder's words and tokenizer to `folder` and opens it.
///
/// # Errors
/// When a file cannot be read or written.
pub(crate) fn untrained_reranker(
    first_stage: &DualEncoder,
    first_stage_folder: &Path,
    folder: &Path,
    options: &LoadOptions,
) -> anyhow::Result<CrossEncoder> {
    let words = read_words(first_stage_folder)?;
    let tokenizer = first_stage.tokenizer();
    let parent = folder.parent().context("the quickstart's folder has no parent")?;
    let plain = tempfile::tempdir_in(parent).context("cannot write the untrained reranker")?;
    write_checkpoint(tokenizer, words, plain.path())?;
    CrossEncoder::load(plain.path(), options, &Silent)?.save(folder, None)?;
    Ok(CrossEncoder::load(folder, options, &Silent)?)
}

/// The embedding matrix of a static model.
fn read_words(folder: &Path) -> anyhow::Result<Tensor> {
    let name = "embedding.weight";
    let module = folder.join("0_StaticEmbedding");
    let weights = Weights::open(if module.is_dir() { &module } else { folder })?;
    let shape = weights.shape(name).context("the first stage has no embedding matrix")?;
    let shape = [shape[0], shape[1]];
    Ok(("bert.embeddings.word_embeddings.weight".to_owned(), shape, weights.read(name)?))
}

/// A transformers checkpoint with the tensors that do not start random; loading draws the others.
fn write_checkpoint(tokenizer: &Tokenizer, words: Tensor, folder: &Path) -> anyhow::Result<()> {
    let (rows, width) = (words.1[0], words.1[1]);
    let config = serde_json::to_string_pretty(&config(rows, width))?;
    std::fs::write(folder.join("config.json"), config)?;
    tokenizer.save(folder)?;
    let mut tensors = vec![words, positions(width), texts(width)];
    for layer in 0..LAYERS {
        for projection in ["query", "key"] {
            let name = format!("bert.encoder.layer.{layer}.attention.self.{projection}.weight");
            tensors.push((name, [width, width], words_only(width)));
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
    std::fs::write(folder.join("model.safetensors"), safetensors::serialize(views, None)?)?;
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
        "max_position_embeddings": LONGEST,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        // So little data is seen only a few times: dropout would cost more than it saves.
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
        "layer_norm_eps": 1e-12,
        // 1 / sqrt(width), nearly: BERT's 0.02 would let nothing through a model so narrow.
        "initializer_range": 0.08,
        "pad_token_id": 0,
        "id2label": { "0": "LABEL_0" },
        "label2id": { "LABEL_0": 0 },
    })
}

/// No positions to begin with: a word matches wherever it stands.
fn positions(width: usize) -> Tensor {
    let name = "bert.embeddings.position_embeddings.weight".to_owned();
    (name, [LONGEST, width], vec![0.0; LONGEST * width])
}

/// The marks of the two texts, in the last dimensions.
fn texts(width: usize) -> Tensor {
    let mut values = vec![0.0; 2 * width];
    values[width - MARKS..width].fill(MARK);
    values[2 * width - MARKS..].fill(-MARK);
    ("bert.embeddings.token_type_embeddings.weight".to_owned(), [2, width], values)
}

/// The identity on the dimensions of words, times the sharpness.
fn words_only(width: usize) -> Vec<f32> {
    let mut values = vec![0.0; width * width];
    for dimension in 0..width - MARKS {
        values[dimension * width + dimension] = SHARPNESS;
    }
    values
}
