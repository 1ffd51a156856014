//! Losses that train a second copy of the model.

use crate::batches::{assert_same_gradients, prepared};
use crate::support::message;
use crate::testing::{arguments, bits, device, logged_values, pairs, timeless, tiny_dual};
use rankforge::data::{Rows, Value};
use rankforge::encoder::{DualEncoder, LoadOptions, TextModel};
use rankforge::losses::{Loss, Targets, dual_encoder_loss};
use rankforge::training::{ResumeFrom, Trainer, TrainingSet};
use safetensors::SafeTensors;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The golden values, which `fixtures/contrastive_tension.py` writes.
#[derive(Deserialize)]
struct Goldens {
    arguments: Json,
    runs: Vec<Golden>,
}

#[derive(Deserialize)]
struct Golden {
    name: String,
    settings: Map<String, Json>,
    columns: Vec<(String, Vec<Json>)>,
    losses: Vec<f64>,
    model1: HashMap<String, f64>,
    model2: HashMap<String, f64>,
    scale: Option<f64>,
}

const LOSSES: [&str; 2] = ["ContrastiveTensionLoss", "ContrastiveTensionLossInBatchNegatives"];

fn built(name: &str, options: Json) -> Arc<dyn Loss> {
    dual_encoder_loss(name, options.as_object().unwrap()).unwrap().into()
}

/// Rows for the loss called `name`: two columns, or one.
fn rows(name: &str) -> Rows {
    let mut columns = pairs(12).into_columns();
    // Every third row has the same text twice.
    for row in (0..12).step_by(3) {
        columns[1].1[row] = columns[0].1[row].clone();
    }
    columns.truncate(if name == LOSSES[0] { 2 } else { 1 });
    Rows::new(columns).unwrap()
}

/// The BERT of the fixtures with mean pooling and without dropout.
fn bert(folder: &Path) -> DualEncoder {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/families/bert-base");
    fs::copy(source.join("model.safetensors"), folder.join("model.safetensors")).unwrap();
    let config = fs::read(source.join("config.json")).unwrap();
    let mut config: Json = serde_json::from_slice(&config).unwrap();
    config["hidden_dropout_prob"] = json!(0.0);
    config["attention_probs_dropout_prob"] = json!(0.0);
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"].map(str::to_owned);
    let words = special.into_iter().chain((5..60).map(|index| format!("word{index}")));
    fs::write(folder.join("vocab.txt"), words.collect::<Vec<_>>().join("\n")).unwrap();
    DualEncoder::open_with(folder, &LoadOptions::new(&device())).unwrap()
}

/// The sum of elements times numbers that have no pattern.
fn sum(values: &[f32]) -> f64 {
    let terms = values.iter().enumerate();
    terms.map(|(i, x)| f64::from(*x) * (0.7 * i as f64 + 0.1).sin()).sum()
}

/// The tensors of a safetensors file.
fn tensors(path: &Path) -> HashMap<String, Vec<f32>> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let numbers = |data: &[u8]| {
        data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    };
    file.iter().map(|(name, tensor)| (name.to_owned(), numbers(tensor.data()))).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::Text(text.clone()),
        number => Value::Float(number.as_f64().unwrap()),
    }
}

#[test]
fn ten_steps_are_those_of_sentence_transformers() {
    let path = "tests/fixtures/contrastive_tension.json";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let goldens: Goldens = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for golden in goldens.runs {
        let what = format!("{} {:?}", golden.name, golden.settings);
        let folder = tempfile::tempdir().unwrap();
        let model = bert(folder.path());
        let mut all = goldens.arguments.clone();
        let own = json!({
            "max_steps": -1, "save_strategy": "steps", "save_steps": 10,
            "logging_strategy": "steps", "logging_steps": 1,
        });
        all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let output = folder.path().join("run");
        let columns = golden.columns.iter();
        let columns = columns
            .map(|(name, cells)| (name.clone(), cells.iter().map(value).collect()))
            .collect();
        let loss = built(&golden.name, Json::Object(golden.settings));
        let mut trainer =
            Trainer::new(model, arguments(&output, all), Rows::new(columns).unwrap(), loss);
        let state = trainer.train().unwrap().state;
        let losses = logged_values(&state, "loss");
        assert_eq!(losses.len(), golden.losses.len(), "{what}");
        for ((step, found), expected) in losses.iter().zip(&golden.losses) {
            let error = (found - expected).abs();
            assert!(error < 1e-3 * expected, "{what}, step {step}: {found}, expected {expected}");
        }
        let saved = tensors(&output.join("checkpoint-10/optimizer.safetensors"));
        let model = tensors(&output.join("checkpoint-10/model.safetensors"));
        // The gradient of a bias of keys is zero, but for rounding, which AdamW scales up.
        let moved = |(name, _): &(&String, &f64)| !name.ends_with("key.bias");
        for (name, expected) in golden.model1.iter().filter(moved) {
            let found = sum(&saved[&format!("loss.model1.{name}")]);
            assert!((found - expected).abs() < 3e-3, "{what}, copy: {name}: {found}, {expected}");
        }
        for (name, expected) in golden.model2.iter().filter(moved) {
            let found = sum(&model[name]);
            assert!((found - expected).abs() < 3e-3, "{what}: {name}: {found}, {expected}");
        }
        let scale = saved.get("loss.logit_scale").map(|values| f64::from(values[0]).exp());
        assert_eq!(scale.is_some(), golden.scale.is_some(), "{what}");
        if let (Some(scale), Some(expected)) = (scale, golden.scale) {
            assert!((scale / expected - 1.0).abs() < 1e-4, "{what}: scale {scale}, {expected}");
        }
    }
}

fn trainer(folder: &Path, name: &str, dropout: f64, more: Json) -> Trainer<DualEncoder> {
    let mut all = json!({
        "max_steps": 3, "per_device_train_batch_size": 6, "save_strategy": "steps",
        "save_steps": 1, "logging_strategy": "steps", "logging_steps": 1,
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let loss = built(name, json!({"mini_batch_size": 5}));
    Trainer::new(tiny_dual(dropout, 1, false), arguments(folder, all), rows(name), loss)
}

#[test]
fn a_resumed_run_ends_in_the_same_bits() {
    for name in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let more = json!({"eval_strategy": "steps", "eval_steps": 1});
        let with_evaluation = |folder: &Path| {
            let mut trainer = trainer(folder, name, 0.2, more.clone());
            trainer.eval_sets = vec![TrainingSet::new(rows(name), built(name, json!({})))];
            trainer
        };
        let mut whole = with_evaluation(folder.path());
        let expected = timeless(&whole.train().unwrap().state);
        let other = tempfile::tempdir().unwrap();
        let mut resumed = with_evaluation(other.path());
        let checkpoint = folder.path().join("checkpoint-2");
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        assert_eq!(timeless(&resumed.train().unwrap().state), expected, "{name}");
        assert!(bits(resumed.model.model()) == bits(whole.model.model()), "{name}");
        let read = |folder: &Path| tensors(&folder.join("checkpoint-3/optimizer.safetensors"));
        assert!(read(folder.path()) == read(other.path()), "{name}");
    }
}

#[test]
fn the_copy_is_trained_apart_and_no_part_of_the_saved_model() {
    for name in LOSSES {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), name, 0.0, json!({"max_steps": 2}));
        trainer.train().unwrap();
        let saved = folder.path().join("model");
        trainer.save_model(&saved).unwrap();
        let model = tensors(&saved.join("model.safetensors"));
        assert!(model.keys().all(|name| !name.contains("model1")), "{name}");
        let copy = tensors(&folder.path().join("checkpoint-2/optimizer.safetensors"));
        for (tensor, values) in &model {
            assert!(&copy[&format!("loss.model1.{tensor}")] != values, "{name}: {tensor}");
        }
    }
}

#[test]
fn learning_rates_of_the_copy_are_found_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let more = json!({"learning_rate_mapping": {"^model1": 0.0}});
    trainer(folder.path(), LOSSES[1], 0.0, more).train().unwrap();
    let read = |step: u64| {
        let path = folder.path().join(format!("checkpoint-{step}/optimizer.safetensors"));
        let all = tensors(&path);
        let copy = all.into_iter().filter(|(name, _)| name.starts_with("loss.model1."));
        copy.collect::<HashMap<_, _>>()
    };
    assert!(read(1) == read(3) && read(1).len() > 10);
}

#[test]
fn frozen_parameters_are_frozen_in_the_copy() {
    let folder = tempfile::tempdir().unwrap();
    let frozen = |name: &str| name.contains("embeddings");
    let mut begun = trainer(folder.path(), LOSSES[0], 0.0, json!({}));
    begun.model.model_mut().set_trainable(|name| !frozen(name)).unwrap();
    let expected = timeless(&begun.train().unwrap().state);
    let file = tensors(&folder.path().join("checkpoint-3/optimizer.safetensors"));
    assert!(file.keys().all(|name| !frozen(name)));
    let other = tempfile::tempdir().unwrap();
    let mut resumed = trainer(other.path(), LOSSES[0], 0.0, json!({}));
    resumed.model.model_mut().set_trainable(|name| !frozen(name)).unwrap();
    let checkpoint = folder.path().join("checkpoint-1");
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
    assert_eq!(timeless(&resumed.train().unwrap().state), expected);
    assert!(bits(resumed.model.model()) == bits(begun.model.model()));
}

/// The parameters of model and copy after a step with this size of chunks.
fn after_a_step(name: &str, mini_batch_size: usize) -> Vec<f32> {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), name, 0.0, json!({"max_steps": 1}));
    let loss = built(name, json!({"mini_batch_size": mini_batch_size}));
    trainer.train_sets = vec![TrainingSet::new(rows(name), loss)];
    trainer.train().unwrap();
    let file = tensors(&folder.path().join("checkpoint-1/optimizer.safetensors"));
    let mut first: Vec<_> =
        file.into_iter().filter(|(name, _)| name.starts_with("exp_avg.")).collect();
    first.sort_by(|a, b| a.0.cmp(&b.0));
    first.into_iter().flat_map(|(_, values)| values).collect()
}

#[test]
fn chunks_give_the_gradients_of_the_whole_batch() {
    for name in LOSSES {
        assert_same_gradients(&after_a_step(name, 4), &after_a_step(name, 100), name);
    }
}

#[test]
fn rows_with_the_same_tokens_are_the_positives() {
    let model = tiny_dual(0.0, 1, true);
    let cell = |text: &str| Value::Text(text.to_owned());
    let columns = [["red house", "a bird", "blue"], ["RED house ", "the bird", "blue"]];
    let columns = columns.map(|texts| texts.map(cell).to_vec());
    let names = ["first", "second"].map(str::to_owned);
    let rows = Rows::new(names.into_iter().zip(columns).collect()).unwrap();
    let batch = prepared(&model, &built(LOSSES[0], json!({})), &rows, &[]);
    assert_eq!(batch.targets, Targets::Scalars(vec![1.0, 0.0, 1.0]));
}

#[test]
fn what_the_losses_cannot_use_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str, rows: Rows| {
        let options = arguments(folder.path(), json!({}));
        let loss = built(name, json!({}));
        message(Trainer::new(tiny_dual(0.0, 1, false), options, rows, loss).check_rows())
    };
    let text = refused(LOSSES[0], rows(LOSSES[1]));
    assert!(text.contains("expected exactly two text columns, got 1 text column"), "{text}");
    let text = refused(LOSSES[1], rows(LOSSES[0]));
    assert!(text.contains("expected exactly one text column, got 2 text columns"), "{text}");
    let scale = json!({"scale": 0.0});
    let text = message(dual_encoder_loss(LOSSES[1], scale.as_object().unwrap()));
    let expected = "ContrastiveTensionLossInBatchNegatives.scale: expected a number above 0, got 0";
    assert!(text.contains(expected), "{text}");
    for (outer, more) in [("MatryoshkaLoss", "matryoshka_dims"), ("AdaptiveLayerLoss", "")] {
        let mut options = json!({"loss": {"name": LOSSES[0]}});
        if !more.is_empty() {
            options[more] = json!([8]);
        }
        let text = message(dual_encoder_loss(outer, options.as_object().unwrap()));
        assert_eq!(
            text,
            format!(
                "{outer}.loss.name: expected a loss of the embeddings of one model inside, got {}",
                LOSSES[0]
            )
        );
    }
}
