//! A tiny random BERT with a tokenizer of its own, toy rows, and watchers, for tests of training.

use rankforge::data::{Rows, Value};
use rankforge::encoder::kernels::Arena;
use rankforge::encoder::{
    CrossEncoder, EncoderError, LoadOptions, Model, Outputs, Reporter, Silent, Tokenizer,
    Trainable, Workspace, train_word_piece,
};
use rankforge::losses::{Draw, Examples, Labels, Loss, LossOutput, Plan, cross_encoder_loss};
use rankforge::training::{
    Chunking, Dataset, LogRecord, PreparedBatch, Preparer, Trainer, TrainerState,
    TrainingArguments, loss_and_gradients,
};
use rankforge::{Device, Error};
use serde_json::{Value as Json, json};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const COLOURS: [&str; 6] = ["red", "green", "blue", "black", "white", "brown"];
const THINGS: [&str; 5] = ["house", "river", "stone", "bird", "garden"];

/// Two threads, as training on one would hide orders of reduction.
pub(crate) fn device() -> Device {
    Device::cpu(Some(2)).unwrap()
}

fn tokenizer() -> Tokenizer {
    let words: Vec<&str> = COLOURS.into_iter().chain(THINGS).chain(["the", "is", "a"]).collect();
    // Twice, as pieces must occur twice to be kept.
    let text = words.join(" ");
    let mut tokenizer = train_word_piece(&[&text, &text], 200).unwrap();
    tokenizer.set_max_length(Some(24));
    tokenizer
}

/// A BERT of two blocks and width 16 with fresh numbers of `seed`.
pub(crate) fn tiny_bert(dropout: f64, seed: u64) -> CrossEncoder {
    tiny_bert_on(2, dropout, seed)
}

/// The same on a device with so many threads.
pub(crate) fn tiny_bert_on(threads: usize, dropout: f64, seed: u64) -> CrossEncoder {
    let tokenizer = tokenizer();
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
    let device = Device::cpu(Some(threads)).unwrap();
    let options = LoadOptions { num_labels: Some(1), seed, ..LoadOptions::new(&device) };

    CrossEncoder::from_config(&config, tokenizer, &options, &Silent).unwrap()
}

fn text(row: usize, shift: usize) -> String {
    let colour = COLOURS[(row * 5 + shift) % COLOURS.len()];
    let thing = THINGS[(row * 3 + shift) % THINGS.len()];
    let long = "the ".repeat(row % 4);
    format!("{long}{thing} {row_word} is {colour}", row_word = THINGS[(row / 5) % THINGS.len()])
}

fn column(name: &str, values: impl Iterator<Item = Value>) -> (String, Vec<Value>) {
    (name.to_owned(), values.collect())
}

/// Pairs of ragged lengths with labels 0 and 1 that the texts decide.
pub(crate) fn labelled_pairs(count: usize) -> Rows {
    let label = |row: usize| Value::Integer(i64::from((row * 5) % COLOURS.len() < 3));
    Rows::new(vec![
        column("query", (0..count).map(|row| Value::Text(text(row, 0)))),
        column("answer", (0..count).map(|row| Value::Text(text(row, 1)))),
        column("label", (0..count).map(label)),
    ])
    .unwrap()
}

/// Anchors and positives without labels; some texts occur several times.
pub(crate) fn pairs(count: usize) -> Rows {
    Rows::new(vec![
        column("query", (0..count).map(|row| Value::Text(text(row, 0)))),
        column("answer", (0..count).map(|row| Value::Text(text(row % 17, 1)))),
    ])
    .unwrap()
}

pub(crate) fn loss(name: &str, options: Json) -> Box<dyn Loss> {
    cross_encoder_loss(name, options.as_object().unwrap()).unwrap()
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

/// A trainer of the tiny BERT with binary cross entropy on labelled pairs.
pub(crate) fn trainer<'a>(
    output_dir: &Path,
    options: Json,
    reporter: &'a dyn Reporter,
) -> Trainer<'a, CrossEncoder> {
    Trainer::new(
        tiny_bert(0.1, 1),
        arguments(output_dir, options),
        labelled_pairs(30),
        loss("BinaryCrossEntropyLoss", json!({})),
        reporter,
    )
}

pub(crate) fn bits(model: &Model) -> Vec<u32> {
    model.parameters().flat().to_vec().into_iter().map(f32::to_bits).collect()
}

/// Names in a folder, sorted.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Remembers messages and warnings.
#[derive(Default)]
pub(crate) struct Remembering {
    pub(crate) messages: Mutex<Vec<String>>,
    pub(crate) warnings: Mutex<Vec<String>>,
}

impl Remembering {
    pub(crate) fn warned(&self, text: &str) -> bool {
        self.warnings.lock().unwrap().iter().any(|warning| warning.contains(text))
    }
}

impl Reporter for Remembering {
    fn begin(&self, _task: &str, _total: Option<u64>, _unit: &str) {}
    fn advance(&self, _amount: u64) {}
    fn end(&self) {}
    fn message(&self, text: &str) {
        self.messages.lock().unwrap().push(text.to_owned());
    }
    fn warning(&self, text: &str) {
        self.warnings.lock().unwrap().push(text.to_owned());
    }
}

/// A model whose files cannot be written from the `failing`-th time on: a full disk.
pub(crate) struct FullDisk {
    pub(crate) inner: CrossEncoder,
    pub(crate) failing: usize,
    pub(crate) saved: AtomicUsize,
}

impl Trainable for FullDisk {
    fn model(&self) -> &Model {
        Trainable::model(&self.inner)
    }

    fn model_mut(&mut self) -> &mut Model {
        self.inner.model_mut()
    }

    fn tokenizer(&self) -> &Tokenizer {
        Trainable::tokenizer(&self.inner)
    }

    fn model_type(&self) -> &'static str {
        self.inner.model_type()
    }

    fn num_labels(&self) -> usize {
        Trainable::num_labels(&self.inner)
    }

    fn base_model(&self) -> &str {
        self.inner.base_model()
    }

    fn default_prompt(&self) -> Option<&str> {
        self.inner.default_prompt()
    }

    fn save_files(&self, directory: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        self.inner.save_files(directory, card)?;
        if self.saved.fetch_add(1, Ordering::Relaxed) + 1 < self.failing {
            return Ok(());
        }
        let source = std::io::ErrorKind::StorageFull.into();
        Err(EncoderError::Io { path: directory.to_owned(), source })
    }

    fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError> {
        self.inner.load_parameters(directory)
    }
}

pub(crate) fn prepared(
    model: &CrossEncoder,
    loss: &dyn Loss,
    rows: &rankforge::data::Rows,
) -> PreparedBatch {
    let dataset = Dataset::new(rows, "test data").unwrap();
    let tokenizer = model.tokenizer().clone();
    let preparer = Preparer::new(dataset, loss, tokenizer, None, 7).unwrap();
    let all: Vec<usize> = (0..rows.len()).collect();
    preparer.prepare(&all, 3).unwrap()
}

pub(crate) fn gradients_of(
    model: &Model,
    loss: &dyn Loss,
    batch: &PreparedBatch,
    chunking: Chunking,
) -> (LossOutput, Vec<f32>) {
    let mut gradients = Arena::zeros(&device(), model.parameters().layout().clone());
    let mut workspace = Workspace::new(model.device());
    let output =
        loss_and_gradients(model, loss, batch, &chunking, 1.0, &mut workspace, &mut gradients);
    (output, gradients.flat().to_vec())
}

/// Largest difference over largest number; both passes sum the same products in other orders, over
/// at most a few hundred tokens, so a relative error of some hundred roundings is their own.
pub(crate) fn assert_same_gradients(found: &[f32], expected: &[f32], what: &str) {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0, "{what}: no gradient at all");
    assert!(difference <= 300.0 * f32::EPSILON * largest, "{what}: {difference} of {largest}");
}

/// Steps and values of the log records that have a figure.
pub(crate) fn figures(state: &TrainerState, name: &str) -> Vec<(u64, f64)> {
    let found = |record: &LogRecord| {
        Some((record["step"].as_u64().unwrap(), record.get(name)?.as_f64().unwrap()))
    };
    state.log_history.iter().filter_map(found).collect()
}

/// A loss that is not a number in the batches `failing`, counted from 1, or has no gradient.
struct Broken {
    inner: Box<dyn Loss>,
    failing: Range<usize>,
    computed: AtomicUsize,
    without_gradient: bool,
}

impl Loss for Broken {
    fn name(&self) -> &'static str {
        "BrokenLoss"
    }

    fn config(&self) -> Json {
        json!({})
    }

    fn citation(&self) -> &'static str {
        ""
    }

    fn check_model(&self, output_columns: usize) -> Result<(), Error> {
        self.inner.check_model(output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.inner.plan(examples, draw)
    }

    fn compute(&self, outputs: &Outputs, rows: usize, labels: &Labels) -> LossOutput {
        let mut output = self.inner.compute(outputs, rows, labels);
        if self.failing.contains(&(self.computed.fetch_add(1, Ordering::Relaxed) + 1)) {
            output.value = f64::NAN;
        }
        if self.without_gradient {
            output.d_outputs.values.fill(0.0);
        }
        output
    }
}

/// Binary cross entropy that is broken.
pub(crate) fn broken(failing: Range<usize>, without_gradient: bool) -> Box<dyn Loss> {
    let inner = loss("BinaryCrossEntropyLoss", json!({}));
    Box::new(Broken { inner, failing, computed: AtomicUsize::new(0), without_gradient })
}
