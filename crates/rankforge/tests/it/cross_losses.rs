//! The losses of cross-encoders through a model: gradient caching, and short runs.

use crate::batches::{WHOLE, assert_same_gradients, chunks_of, gradients_of, prepared};
use crate::testing::{
    arguments, bits, labeled_pairs, logged_values, pairs, tiny_bert, tiny_classifier,
};
use rankforge::data::{Rows, Value};
use rankforge::encoder::{BatchBudget, CrossEncoder, TextModel};
use rankforge::losses::{CROSS_ENCODER_LOSSES, Loss, cross_encoder_loss};
use rankforge::training::Trainer;
use serde_json::{Value as Json, json};
use std::collections::HashSet;
use std::sync::Arc;

/// The queries of pairs with one to four documents each, and a label for each document.
fn lists(count: usize, label: impl Fn(usize, usize) -> Value) -> Rows {
    let columns = pairs(count).into_columns();
    let answers = &columns[1].1;
    let size = |row: usize| 1 + row % 4;
    let documents = |row| (0..size(row)).map(|i| answers[(row + 3 * i) % count].clone()).collect();
    let labels = |row| (0..size(row)).map(|index| label(row, index)).collect();
    let column = |list: &dyn Fn(usize) -> Vec<Value>| {
        (0..count).map(|row| Value::List(list(row))).collect::<Vec<_>>()
    };
    Rows::new(vec![
        columns[0].clone(),
        ("documents".to_owned(), column(&documents)),
        ("labels".to_owned(), column(&labels)),
    ])
    .unwrap()
}

/// Rows with a column of labels, and with a negative for each row where `negative` is set.
fn labeled(count: usize, negative: bool, label: impl Fn(usize) -> Value) -> Rows {
    let mut columns = pairs(count).into_columns();
    if negative {
        let answers = columns[1].1.clone();
        let negatives = (0..count).map(|row| answers[(row + count / 2) % count].clone());
        columns.push(("negative".to_owned(), negatives.collect()));
    }
    columns.push(("score".to_owned(), (0..count).map(label).collect()));
    Rows::new(columns).unwrap()
}

/// Name, settings and rows of every loss; those of several classes need a model with three labels.
fn losses() -> Vec<(&'static str, Json, Rows)> {
    let count = 12;
    let graded = |row: usize| Value::Float((row * 5 % 7) as f64 / 3.0 - 0.5);
    let scores = |row: usize| Value::List(vec![graded(row + 1), graded(row)]);
    let class = |row: usize| Value::Integer((row % 3) as i64);
    let mined = || lists(count, |_, index| Value::Integer(i64::from(index == 0)));
    let teacher = || lists(count, |row, index| Value::Float(((row * 7 + index * 5) % 11) as f64));
    vec![
        ("BinaryCrossEntropyLoss", json!({}), labeled_pairs(count)),
        ("CrossEntropyLoss", json!({}), labeled(count, false, class)),
        ("MultipleNegativesRankingLoss", json!({}), pairs(count)),
        ("CachedMultipleNegativesRankingLoss", json!({}), pairs(count)),
        ("MSELoss", json!({}), labeled(count, false, graded)),
        ("MarginMSELoss", json!({}), labeled(count, true, graded)),
        ("MarginMSELoss", json!({"activation_fn": "Sigmoid"}), labeled(count, true, scores)),
        ("LambdaLoss", json!({}), mined()),
        ("LambdaLoss", json!({"k": 2, "weighting_scheme": "LambdaRankScheme"}), teacher()),
        ("RankNetLoss", json!({}), teacher()),
        ("ListNetLoss", json!({}), teacher()),
        ("ListMLELoss", json!({"respect_input_order": false}), teacher()),
        ("PListMLELoss", json!({}), mined()),
        ("ADRMSELoss", json!({}), teacher()),
    ]
}

/// A model without dropout that the loss can train.
fn model_for(loss: &dyn Loss) -> CrossEncoder {
    match loss.name() {
        "CrossEntropyLoss" => tiny_classifier(3, 2),
        _ => tiny_bert(0.0, 2),
    }
}

fn built(name: &str, options: &Json) -> Arc<dyn Loss> {
    cross_encoder_loss(name, options.as_object().unwrap()).unwrap().into()
}

#[test]
fn gradients_in_chunks_are_those_of_the_whole_batch() {
    for (name, options, rows) in losses() {
        let loss = built(name, &options);
        let model = model_for(&*loss);
        let batch = prepared(&model, &loss, &rows, &[]);
        let model = model.model();
        let (whole, expected) = gradients_of(model, &*loss, &batch, WHOLE);
        let by_tokens = BatchBudget { max_tokens: 60, ..WHOLE };
        for budget in [chunks_of(5), by_tokens] {
            let (in_chunks, found) = gradients_of(model, &*loss, &batch, budget);
            assert!((whole.value - in_chunks.value).abs() < 1e-4 * whole.value.abs(), "{name}");
            assert_same_gradients(&found, &expected, name);
        }
    }
}

#[test]
fn every_loss_trains_with_gradient_caching_and_learns() {
    let mut seen = HashSet::new();
    for (name, mut options, rows) in losses() {
        let folder = tempfile::tempdir().unwrap();
        options["mini_batch_size"] = json!(5);
        let loss = built(name, &options);
        let model = model_for(&*loss);
        let before = bits(model.model());
        let options = json!({
            "logging_strategy": "steps", "logging_steps": 1, "per_device_train_batch_size": 12,
            "max_steps": 12, "learning_rate": 3e-3, "lr_scheduler_type": "constant",
        });
        let arguments = arguments(folder.path(), options);
        let mut trainer = Trainer::new(model, arguments, rows, loss);
        let state = trainer.train().unwrap().state;
        let losses = logged_values(&state, "loss");
        let (first, last) = (losses[0].1, losses.last().unwrap().1);
        assert!(last < first, "{name}: from {first} to {last}");
        assert!(bits(trainer.model.model()) != before, "{name}");
        seen.insert(name);
    }
    assert_eq!(seen, CROSS_ENCODER_LOSSES.iter().map(|entry| entry.name).collect());
}
