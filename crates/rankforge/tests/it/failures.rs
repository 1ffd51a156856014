//! Runs that cannot go on, and what is left of them.

use crate::testing::{
    FullDisk, Remembering, arguments, broken, labelled_pairs, loss, names, tiny_bert, trainer,
};
use rankforge::Error;
use rankforge::encoder::{Silent, Trainable};
use rankforge::training::Trainer;
use serde_json::json;
use std::sync::atomic::AtomicUsize;

#[test]
fn a_full_disk_is_an_error_and_earlier_checkpoints_stay() {
    let folder = tempfile::tempdir().unwrap();
    let model = FullDisk { inner: tiny_bert(0.1, 1), failing: 3, saved: AtomicUsize::new(0) };
    let options = json!({"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1});
    let mut trainer = Trainer::new(
        model,
        arguments(folder.path(), options),
        labelled_pairs(30),
        loss("BinaryCrossEntropyLoss", json!({})),
        &Silent,
    );
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::Encoder(_)), "{error}");
    assert_eq!(names(folder.path()), ["checkpoint-4", "training.svg"]);
    assert!(folder.path().join("checkpoint-4/optimizer.safetensors").is_file());
}

#[test]
fn an_output_dir_that_cannot_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let options = json!({"max_steps": 1, "save_strategy": "steps"});
    let mut trainer = trainer(&file.join("run"), options, &Silent);
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::Io { .. }), "{error}");
}

#[test]
fn a_loss_that_is_not_a_number_stops_the_run_and_names_step_rows_and_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"save_strategy": "steps", "save_steps": 3});
    let mut trainer = trainer(folder.path(), options, &Silent);
    trainer.loss = broken(5..usize::MAX, false);
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::NotFinite(_)), "{error}");
    let message = error.to_string();
    assert!(message.contains("loss is NaN in step 5"), "{message}");
    assert!(message.contains("checkpoint-3"), "{message}");
    let rows = message.split("training rows ").nth(1).unwrap().split(';').next().unwrap();
    assert_eq!(rows.split(", ").count(), 4, "{message}");
}

#[test]
fn poisoned_weights_stop_the_run_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"save_strategy": "steps"}), &Silent);
    trainer.model.model_mut().parameters_mut().flat_mut().fill(f32::NAN);
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.contains("in step 1 "), "{message}");
    assert!(message.contains("no checkpoint has been written yet"), "{message}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_loss_without_gradient_is_a_warning_as_parameters_were_reached() {
    let folder = tempfile::tempdir().unwrap();
    let reporter = Remembering::default();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 2}), &reporter);
    trainer.loss = broken(0..0, true);
    trainer.train().unwrap();
    assert!(reporter.warned("all gradients are exactly zero"));
}

#[test]
fn rows_that_do_not_fit_are_errors_that_name_row_and_column() {
    use rankforge::data::{Rows, Value};
    let text = |text: &str| Value::Text(text.to_owned());
    let train = |columns: Vec<(&str, Vec<Value>)>| {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), json!({"max_steps": 1}), &Silent);
        let columns = columns.into_iter().map(|(name, values)| (name.to_owned(), values));
        trainer.train_dataset = Rows::new(columns.collect()).unwrap();
        trainer.train().unwrap_err().to_string()
    };
    let two = || vec![text("a"), text("b")];
    let message = train(vec![
        ("query", two()),
        ("answer", vec![text("a"), Value::Null]),
        ("label", vec![Value::Integer(1), Value::Integer(0)]),
    ]);
    assert!(message.contains("row 2") && message.contains("`answer`"), "{message}");
    let message = train(vec![
        ("query", two()),
        ("answer", two()),
        ("label", vec![Value::Float(f64::NAN), Value::Integer(0)]),
    ]);
    assert!(message.contains("row 1") && message.contains("`label`"), "{message}");
    let message = train(vec![("query", two()), ("dataset_name", two())]);
    assert!(message.contains("reserved"), "{message}");
    let message = train(vec![("label", vec![Value::Integer(1)])]);
    assert!(message.contains("text column"), "{message}");
    let message = train(vec![("query", vec![])]);
    assert!(message.contains("at least one row"), "{message}");
}
