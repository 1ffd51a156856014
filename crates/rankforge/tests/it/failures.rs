//! Runs that fail, and the files they leave behind.

use crate::broken::{FullDisk, broken};
use crate::support::{Recorder, table, text};
use crate::testing::{arguments, labeled_pairs, loss, names, tiny_bert, trainer};
use rankforge::base::FileError;
use rankforge::data::Value;
use rankforge::encoder::{EncoderError, TextModel};
use rankforge::training::Trainer;
use rankforge::{Error, NotFinite, SetRows};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

#[test]
fn a_full_disk_is_an_error_and_earlier_checkpoints_stay() {
    let folder = tempfile::tempdir().unwrap();
    let model = FullDisk { inner: tiny_bert(0.1, 1), failing: 3, saved: AtomicUsize::new(0) };
    let options = json!({"save_strategy": "steps", "save_steps": 2, "save_total_limit": 1});
    let mut trainer = Trainer::new(
        model,
        arguments(folder.path(), options),
        labeled_pairs(30),
        loss("BinaryCrossEntropyLoss", json!({})),
    );
    let error = trainer.train().unwrap_err();
    assert!(matches!(&error, Error::Encoder(EncoderError::File(_))), "{error}");
    assert!(error.hint().unwrap().starts_with("the disk is full"), "{:?}", error.hint());
    assert_eq!(
        names(folder.path()),
        ["checkpoint-4", "report.html", "report.json", "run.json", "training.svg"]
    );
    assert!(folder.path().join("checkpoint-4/optimizer.safetensors").is_file());
}

#[test]
fn an_output_dir_that_cannot_be_created_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    let options = json!({"max_steps": 1, "save_strategy": "steps"});
    let mut trainer = trainer(&file.join("run"), options);
    let error = trainer.train().unwrap_err();
    assert!(matches!(error, Error::File(FileError::Io { .. })), "{error}");
}

#[test]
fn a_nan_loss_stops_the_run_and_is_reported_with_step_rows_and_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"save_strategy": "steps", "save_steps": 3});
    let mut trainer = trainer(folder.path(), options);
    trainer.train_sets[0].loss = broken(5..usize::MAX, false);
    let error = trainer.train().unwrap_err();
    let message = error.to_string();
    let Error::NotFinite(NotFinite { what, step, rows, checkpoint, .. }) = error else {
        panic!("{message}")
    };
    assert_eq!((what, step), ("loss", 5));
    assert_eq!(checkpoint, Some(folder.path().join("checkpoint-3")));
    let [SetRows { set, rows }] = &rows[..] else { panic!("{rows:?}") };
    assert!(set.is_empty() && rows.len() == 4, "{rows:?}");
    assert!(rows.iter().all(|row| (1..=30).contains(row)), "{rows:?}");
    let listed: Vec<String> = rows.iter().map(usize::to_string).collect();
    let expected = format!(
        "the loss is NaN in step 5 (epoch 0.50), training rows {}; the last good checkpoint is {}",
        listed.join(", "),
        folder.path().join("checkpoint-3").display()
    );
    assert_eq!(message, expected);
}

#[test]
fn nan_weights_stop_the_run_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"save_strategy": "steps"}));
    trainer.model.model_mut().parameters_mut().flat_mut().fill(f32::NAN);
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.contains("in step 1 "), "{message}");
    assert!(message.contains("no checkpoint has been written yet"), "{message}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_zero_gradient_of_the_loss_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let recorder = Arc::new(Recorder::default());
    let mut trainer = trainer(folder.path(), json!({"max_steps": 2}));
    trainer.reporter = recorder.clone();
    trainer.train_sets[0].loss = broken(0..0, true);
    trainer.train().unwrap();
    assert!(recorder.warned("all gradients are exactly zero"));
}

/// The error of training on a table.
fn refused(columns: Vec<(&str, Vec<Value>)>) -> String {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"max_steps": 1}));
    trainer.train_sets[0].rows = Arc::new(table(columns));
    let message = trainer.train().unwrap_err().to_string();
    assert!(names(folder.path()).is_empty(), "something was written");
    assert_eq!(trainer.check_rows().unwrap_err().to_string(), message);
    message
}

#[test]
fn errors_for_invalid_rows_name_row_and_column() {
    let two = || vec![text("a"), text("b")];
    let labels = |first: Value| vec![first, Value::Integer(0)];
    assert_eq!(
        refused(vec![
            ("query", two()),
            ("answer", vec![text("a"), Value::Null]),
            ("label", labels(Value::Integer(1))),
        ]),
        "training data, row 2, column `answer`: expected a text, got null, or no such \
         column in this row"
    );
    assert_eq!(
        refused(vec![
            ("query", two()),
            ("answer", two()),
            ("label", labels(Value::Float(f64::NAN))),
        ]),
        "training data, row 1, column `label`: expected a finite number, got float NaN"
    );
    // Losses receive an f32.
    let too_large =
        refused(vec![("query", two()), ("answer", two()), ("label", labels(Value::Float(1e39)))]);
    let expected = "training data, row 1, column `label`: expected a finite number, got float 1000";
    assert!(too_large.starts_with(expected), "{too_large}");
    assert_eq!(
        refused(vec![("query", two()), ("dataset_name", two())]),
        "training data: expected other column names than `return_loss` and `dataset_name`, got \
         `dataset_name`"
    );
    assert_eq!(
        refused(vec![("label", vec![Value::Integer(1)])]),
        "training data: expected a text column, got only `label`"
    );
    assert_eq!(
        refused(vec![("query", vec![])]),
        "training data: expected at least one row, got none"
    );
}
