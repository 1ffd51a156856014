//! Training of rerankers made of modules: pooling, dense layers, a layer norm.

use crate::testing::{arguments, bits, device, labeled_pairs, logged_values, loss};
use rankforge::data::{Rows, Value};
use rankforge::encoder::{CrossEncoder, LoadOptions, OutputActivation, PredictOptions, TextModel};
use rankforge::training::Trainer;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

#[derive(Deserialize)]
struct Golden {
    rows: Vec<Row>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Row {
    query: String,
    answer: String,
    label: f64,
}

#[derive(Deserialize)]
struct Case {
    loss: String,
    settings: Json,
    losses: Vec<f64>,
    logits: Vec<f64>,
}

fn golden() -> Golden {
    serde_json::from_str(include_str!("../fixtures/modular_reranker.json")).unwrap()
}

/// A copy of the model that sentence-transformers saved, with this dropout.
fn model(folder: &Path, dropout: f64) -> CrossEncoder {
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../rankforge-encoder/tests/fixtures/layouts/ce_modular"
    );
    copy(Path::new(source), folder);
    let path = folder.join("config.json");
    let mut config: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["hidden_dropout_prob"] = json!(dropout);
    config["attention_probs_dropout_prob"] = json!(dropout);
    fs::write(path, config.to_string()).unwrap();
    CrossEncoder::open_with(folder, &LoadOptions::new(&device())).unwrap()
}

fn copy(source: &Path, target: &Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        let target = target.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

fn logits(model: &CrossEncoder, rows: &[Row]) -> Vec<f32> {
    let pairs: Vec<(&str, &str)> =
        rows.iter().map(|row| (row.query.as_str(), row.answer.as_str())).collect();
    let activation_fn = Some(OutputActivation::Identity);
    let options = PredictOptions { activation_fn, ..PredictOptions::default() };
    model.predict_with(&pairs, &options).unwrap().values
}

#[test]
fn ten_steps_are_those_of_sentence_transformers_and_the_saved_model_has_the_same_scores() {
    let Golden { rows, cases } = golden();
    let column = |name: &str, value: &dyn Fn(&Row) -> Value| {
        (name.to_owned(), rows.iter().map(value).collect::<Vec<_>>())
    };
    let table = Rows::new(vec![
        column("query", &|row| Value::Text(row.query.clone())),
        column("answer", &|row| Value::Text(row.answer.clone())),
        column("label", &|row| Value::Float(row.label)),
    ]);
    let table = table.unwrap();
    for case in cases {
        // Chunks of three pairs go through the modules one after the other.
        for chunk in [None, Some(3)] {
            let folder = tempfile::tempdir().unwrap();
            let model = model(&folder.path().join("start"), 0.0);
            let mut settings = case.settings.clone();
            settings["mini_batch_size"] = json!(chunk);
            let options = json!({
                "max_steps": 10, "per_device_train_batch_size": 8, "learning_rate": 0.005,
                "weight_decay": 0.01, "lr_scheduler_type": "constant",
                "logging_strategy": "steps", "logging_steps": 1,
            });
            let arguments = arguments(&folder.path().join("run"), options);
            let loss = loss(&case.loss, settings);
            let mut trainer = Trainer::new(model, arguments, table.clone(), loss);
            let state = trainer.train().unwrap().state;
            let found = logged_values(&state, "loss");
            assert_eq!(found.len(), case.losses.len());
            for ((step, found), expected) in found.into_iter().zip(&case.losses) {
                // AdamW's steps are as large where a gradient is rounding error.
                let error = (found - expected).abs() / expected;
                assert!(error < 1e-3, "{} in step {step}: {found}, not {expected}", case.loss);
            }
            let found = logits(&trainer.model, &rows);
            for (found, expected) in found.iter().zip(&case.logits) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error < 5e-3, "{}: {found}, not {expected}", case.loss);
            }
            trainer.save_model(folder.path().join("final")).unwrap();
            let opened = CrossEncoder::open(folder.path().join("final")).unwrap();
            assert!(bits(opened.model()) == bits(trainer.model.model()));
            for file in ["1_Pooling", "2_Dense", "3_LayerNorm", "4_Dense"] {
                assert!(folder.path().join("final").join(file).is_dir(), "{file} is missing");
            }
        }
    }
}

#[test]
fn a_run_resumes_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, more: Json| {
        let model = model(&folder.path().join("start"), 0.1);
        let mut options = json!({"max_steps": 8, "save_strategy": "steps", "save_steps": 3});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let arguments = arguments(&folder.path().join(name), options);
        let loss = loss("BinaryCrossEntropyLoss", json!({}));
        let mut trainer = Trainer::new(model, arguments, labeled_pairs(30), loss);
        trainer.train().unwrap();
        bits(trainer.model.model())
    };
    let whole = run("whole", json!({}));
    let checkpoint = folder.path().join("whole/checkpoint-3");
    let resumed = run("resumed", json!({"resume_from_checkpoint": checkpoint}));
    assert!(whole == resumed, "another end after step 3");
}
