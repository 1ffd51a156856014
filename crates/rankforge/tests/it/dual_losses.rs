//! Every loss of dual encoders through a model: gradient caching, and short runs.

use crate::batches::{WHOLE, assert_same_gradients, chunks_of, gradients_of, prepared};
use crate::support::message;
use crate::testing::{arguments, bits, labeled_pairs, pairs, timeless, tiny_dual};
use rankforge::data::{Rows, Value};
use rankforge::encoder::{DualEncoder, TextModel};
use rankforge::losses::{Loss, dual_encoder_loss};
use rankforge::training::{ResumeFrom, Trainer};
use serde_json::{Value as Json, json};
use std::path::Path;
use std::sync::Arc;

/// A label for each row.
fn with_labels(rows: Rows, label: impl Fn(usize) -> Value) -> Rows {
    let count = rows.len();
    let mut columns = rows.into_columns();
    columns.retain(|(name, _)| name != "label");
    columns.push(("label".to_owned(), (0..count).map(label).collect()));
    Rows::new(columns).unwrap()
}

/// Anchors, positives, and negatives that are the positives of other rows.
fn triplets(count: usize) -> Rows {
    let mut columns = pairs(count).into_columns();
    let positives: Vec<Value> = columns[1].1.clone();
    let negatives = (0..count).map(|row| positives[(row + count / 2) % count].clone());
    columns.push(("negative".to_owned(), negatives.collect()));
    Rows::new(columns).unwrap()
}

/// The first text column alone.
fn single(rows: Rows) -> Rows {
    let mut columns = rows.into_columns();
    columns.truncate(1);
    Rows::new(columns).unwrap()
}

fn floats(count: usize, row: usize) -> Value {
    let number = |index: usize| Value::Float(((row * count + index) as f64 * 1.3).sin());
    Value::List((0..count).map(number).collect())
}

/// A loss by name and settings, and rows for it.
fn losses() -> Vec<(&'static str, Json, Rows)> {
    let count = 12;
    let graded = |row: usize| Value::Float((row * 5 % 7) as f64 / 6.0);
    let class = |row: usize| Value::Integer((row % 3) as i64);
    let classes = || with_labels(single(pairs(count)), class);
    let per_column = |row: usize| Value::List(vec![floats(16, row), floats(16, row + 99)]);
    vec![
        ("MultipleNegativesRankingLoss", json!({"scale": 5}), triplets(count)),
        ("CoSENTLoss", json!({"scale": 5}), with_labels(pairs(count), graded)),
        ("AnglELoss", json!({"scale": 5}), triplets(count)),
        ("CosineSimilarityLoss", json!({}), with_labels(pairs(count), graded)),
        ("ContrastiveLoss", json!({}), labeled_pairs(count)),
        ("OnlineContrastiveLoss", json!({}), labeled_pairs(count)),
        ("TripletLoss", json!({}), triplets(count)),
        ("BatchAllTripletLoss", json!({}), classes()),
        ("BatchHardTripletLoss", json!({}), classes()),
        ("BatchHardSoftMarginTripletLoss", json!({}), classes()),
        ("BatchSemiHardTripletLoss", json!({"distance_metric": "cosine"}), classes()),
        ("MarginMSELoss", json!({}), with_labels(triplets(count), graded)),
        ("DistillKLDivLoss", json!({}), with_labels(triplets(count), |row| floats(2, row))),
        ("MSELoss", json!({}), with_labels(pairs(count), |row| floats(16, row))),
        ("EmbedDistillLoss", json!({}), with_labels(pairs(count), per_column)),
        ("GlobalOrthogonalRegularizationLoss", json!({}), pairs(count)),
        ("MegaBatchMarginLoss", json!({}), pairs(count)),
    ]
}

fn built(name: &str, options: &Json) -> Arc<dyn Loss> {
    dual_encoder_loss(name, options.as_object().unwrap()).unwrap().into()
}

#[test]
fn gradients_in_chunks_are_those_of_the_whole_batch() {
    for (name, options, rows) in losses() {
        let model = tiny_dual(0.0, 2, true);
        let loss = built(name, &options);
        let batch = prepared(&model, &loss, &rows, &[]);
        let model = model.model();
        let (whole, expected) = gradients_of(model, &*loss, &batch, WHOLE);
        let (in_chunks, found) = gradients_of(model, &*loss, &batch, chunks_of(5));
        assert!((whole.value - in_chunks.value).abs() < 1e-4 * whole.value.abs(), "{name}");
        assert_same_gradients(&found, &expected, name);
    }
}

fn trainer(
    folder: &Path,
    (name, options, rows): &(&str, Json, Rows),
    more: Json,
) -> Trainer<DualEncoder> {
    let mut all = json!({
        "logging_strategy": "steps", "logging_steps": 10, "per_device_train_batch_size": 6,
    });
    all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let mut options = options.clone();
    options["mini_batch_size"] = json!(5);
    let loss = built(name, &options);
    Trainer::new(tiny_dual(0.0, 1, false), arguments(folder, all), rows.clone(), loss)
}

#[test]
fn every_loss_trains_with_gradient_caching_and_resumes_to_the_same_bits() {
    for parts in losses() {
        let folder = tempfile::tempdir().unwrap();
        let steps = json!({"max_steps": 4, "save_strategy": "steps", "save_steps": 2});
        let before = bits(tiny_dual(0.0, 1, false).model());
        let mut whole = trainer(folder.path(), &parts, steps.clone());
        let expected = timeless(&whole.train().unwrap().state);
        let trained = bits(whole.model.model());
        assert!(trained != before, "{}", parts.0);
        let other = tempfile::tempdir().unwrap();
        let mut resumed = trainer(other.path(), &parts, steps);
        let checkpoint = folder.path().join("checkpoint-2");
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        assert_eq!(timeless(&resumed.train().unwrap().state), expected, "{}", parts.0);
        let found = bits(resumed.model.model());
        assert!(found == trained, "{}", parts.0);
    }
}

#[test]
fn an_embedding_of_other_dimensions_is_refused_with_its_row() {
    let folder = tempfile::tempdir().unwrap();
    let rows = with_labels(pairs(4), |row| floats(if row == 2 { 5 } else { 16 }, row));
    let parts = ("MSELoss", json!({}), rows);
    let trainer = trainer(folder.path(), &parts, json!({"max_steps": 1}));
    assert_eq!(
        message(trainer.check_rows()),
        "training data for MSELoss, row 3, column `label`: expected a list of 16 numbers, as the \
         model has 16 dimensions, or of 32, 16 for each text column, got a list of 5"
    );
}
