//! Tiny random models with their tokenizer, toy data, and trainers.

use rankforge::Device;
use rankforge::data::{Rows, Value};
use rankforge::encoder::{
    CrossEncoder, DualEncoder, LoadOptions, Model, TextModel, Tokenizer, train_word_piece,
};
use rankforge::losses::{Loss, cross_encoder_loss};
use rankforge::training::{LogRecord, Trainer, TrainerState, TrainingArguments, TrainingSet};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

const COLORS: [&str; 6] = ["red", "green", "blue", "black", "white", "brown"];
const THINGS: [&str; 5] = ["house", "river", "stone", "bird", "garden"];

/// A device with two threads, as one thread would hide errors in the order of reductions.
pub(crate) fn device() -> Device {
    Device::cpu(Some(2)).unwrap()
}

/// A tokenizer of the words in the toy data, and of `more`.
fn tokenizer(more: &[&str]) -> Tokenizer {
    let words = COLORS.into_iter().chain(THINGS).chain(["the", "is", "a"]);
    let words: Vec<&str> = words.chain(more.iter().copied()).collect();
    // Training keeps only pieces that occur at least twice.
    let text = words.join(" ");
    let mut tokenizer = train_word_piece(&[&text, &text], 200).unwrap();
    tokenizer.set_max_length(Some(24));
    tokenizer
}

/// A BERT with two blocks and a hidden size of 16, with random weights drawn from `seed`.
pub(crate) fn tiny_bert(dropout: f64, seed: u64) -> CrossEncoder {
    tiny_bert_on(2, dropout, seed)
}

/// The same model on a device with this number of threads.
pub(crate) fn tiny_bert_on(threads: usize, dropout: f64, seed: u64) -> CrossEncoder {
    bert(tokenizer(&[]), LoadOptions { seed, ..of_threads(threads) }, dropout)
}

/// The same model without dropout, with this number of labels.
pub(crate) fn tiny_classifier(labels: usize, seed: u64) -> CrossEncoder {
    bert(tokenizer(&[]), LoadOptions { num_labels: Some(labels), seed, ..of_threads(2) }, 0.0)
}

fn of_threads(threads: usize) -> LoadOptions {
    let options = LoadOptions::new(&Device::cpu(Some(threads)).unwrap());
    LoadOptions { num_labels: Some(1), ..options }
}

fn bert(tokenizer: Tokenizer, options: LoadOptions, dropout: f64) -> CrossEncoder {
    let config = json!({
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": tokenizer.vocab_size(),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "hidden_act": "gelu",
        "hidden_dropout_prob": dropout,
        "attention_probs_dropout_prob": dropout,
        "max_position_embeddings": 32,
        "type_vocab_size": 2,
        "initializer_range": 0.15,
        "layer_norm_eps": 1e-12,
        "pad_token_id": 0,
    });
    CrossEncoder::from_config(&config, tokenizer, &options).unwrap()
}

/// The same BERT as a dual encoder with mean pooling, which skips the tokens of prompts unless
/// `include_prompt` is set. Its prompts are [`PROMPTS`], and its vocabulary contains their words.
pub(crate) fn tiny_dual(dropout: f64, seed: u64, include_prompt: bool) -> DualEncoder {
    let folder = tempfile::tempdir().unwrap();
    let options = LoadOptions { seed, ..of_threads(2) };
    let bert = bert(tokenizer(&["query", "passage", ":"]), options, dropout);
    bert.save_files(folder.path(), None).unwrap();
    let write = |name: &str, value: Json| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, value.to_string()).unwrap();
    };
    let module = |path: &str, class: &str| {
        let class = format!("sentence_transformers.models.{class}");
        json!({"path": path, "type": class})
    };
    write("modules.json", json!([module("", "Transformer"), module("1_Pooling", "Pooling")]));
    let pooling = json!({
        "embedding_dimension": 16, "pooling_mode": "mean", "include_prompt": include_prompt,
    });
    write("1_Pooling/config.json", pooling);
    let prompts = json!({"query": PROMPTS[0], "document": PROMPTS[1]});
    let settings = json!({"model_type": "SentenceTransformer", "prompts": prompts});
    write("config_sentence_transformers.json", settings);
    write("sentence_bert_config.json", json!({"transformer_task": "feature-extraction"}));
    let mut model = DualEncoder::open_with(folder.path(), &LoadOptions::new(&device())).unwrap();
    // The name of the temporary folder would differ from run to run.
    model.parts_mut().base_model = "tiny".to_owned();
    model
}

/// A static embedding model of 16 dimensions with the vocabulary of the toy data.
pub(crate) fn tiny_static(seed: u64) -> DualEncoder {
    let options = LoadOptions { seed, ..LoadOptions::new(&device()) };
    DualEncoder::new_static(tokenizer(&[]), 16, &options).unwrap()
}

/// Prompts of queries and documents.
pub(crate) const PROMPTS: [&str; 2] = ["query: ", "passage: "];

fn sentence(row: usize, shift: usize) -> String {
    let color = COLORS[(row * 5 + shift) % COLORS.len()];
    let thing = THINGS[(row * 3 + shift) % THINGS.len()];
    let long = "the ".repeat(row % 4);
    format!("{long}{thing} {row_word} is {color}", row_word = THINGS[(row / 5) % THINGS.len()])
}

fn column(name: &str, values: impl Iterator<Item = Value>) -> (String, Vec<Value>) {
    (name.to_owned(), values.collect())
}

/// Pairs of different lengths, with labels 0 and 1 that follow from the texts.
pub(crate) fn labeled_pairs(count: usize) -> Rows {
    let label = |row: usize| Value::Integer(i64::from((row * 5) % COLORS.len() < 3));
    Rows::new(vec![
        column("query", (0..count).map(|row| Value::Text(sentence(row, 0)))),
        column("answer", (0..count).map(|row| Value::Text(sentence(row, 1)))),
        column("label", (0..count).map(label)),
    ])
    .unwrap()
}

/// Anchors and positives without labels; some texts occur several times.
pub(crate) fn pairs(count: usize) -> Rows {
    Rows::new(vec![
        column("query", (0..count).map(|row| Value::Text(sentence(row, 0)))),
        column("answer", (0..count).map(|row| Value::Text(sentence(row % 17, 1)))),
    ])
    .unwrap()
}

/// Builds a cross-encoder loss by name.
pub(crate) fn loss(name: &str, options: Json) -> Arc<dyn Loss> {
    cross_encoder_loss(name, options.as_object().unwrap()).unwrap().into()
}

/// Arguments for a short run in a folder: 20 steps of 4 rows, nothing logged or saved.
pub(crate) fn arguments(output_dir: &Path, options: Json) -> TrainingArguments {
    let mut map = json!({
        "output_dir": output_dir,
        "per_device_train_batch_size": 4,
        "max_steps": 20,
        "learning_rate": 1e-3,
        "logging_strategy": "no",
        "save_strategy": "no",
    });
    map.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    TrainingArguments::from_map(map.as_object().unwrap()).unwrap().0
}

/// A trainer of the tiny BERT with binary cross-entropy on labeled pairs.
pub(crate) fn trainer(output_dir: &Path, options: Json) -> Trainer<CrossEncoder> {
    let arguments = arguments(output_dir, options);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    Trainer::new(tiny_bert(0.1, 1), arguments, labeled_pairs(30), loss)
}

/// An evaluation set with the loss of the trainer's first training set.
pub(crate) fn eval_set<M: TextModel>(trainer: &Trainer<M>, rows: Rows) -> TrainingSet {
    TrainingSet::new(rows, trainer.train_sets[0].loss.clone())
}

/// The bits of all parameters.
pub(crate) fn bits(model: &Model) -> Vec<u32> {
    model.parameters().flat().to_vec().into_iter().map(f32::to_bits).collect()
}

/// What a run leaves in its folder that has neither checkpoints nor evaluators.
pub(crate) const RUN_FILES: [&str; 6] =
    ["log.jsonl", "report.html", "report.json", "run.json", "trainer_state.json", "training.svg"];

/// Names of the files in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Step and value of each log record that contains the key `name`.
pub(crate) fn logged_values(state: &TrainerState, name: &str) -> Vec<(u64, f64)> {
    let found = |record: &LogRecord| {
        Some((record["step"].as_u64().unwrap(), record.get(name)?.as_f64().unwrap()))
    };
    state.log_history.iter().filter_map(found).collect()
}

/// The log without the values that depend on the clock.
pub(crate) fn timeless(state: &TrainerState) -> Vec<LogRecord> {
    let mut log = state.log_history.clone();
    for record in &mut log {
        record.retain(|key, _| !key.contains("runtime") && !key.contains("per_second"));
    }
    log
}
