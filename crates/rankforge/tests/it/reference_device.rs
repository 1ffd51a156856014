//! Training, retrieval and mining on the reference device: whatever reaches the numbers of a device
//! through host memory fails here.

use crate::testing::{
    PROMPTS, arguments, labeled_pairs, logged_values, pairs, tiny_bert, tiny_dual,
};
use rankforge::Device;
use rankforge::data::Rows;
use rankforge::encoder::{CrossEncoder, DualEncoder, EncodeOptions, LoadOptions, Score, TextModel};
use rankforge::losses::{Loss, cross_encoder_loss, dual_encoder_loss};
use rankforge::mining::{MiningOptions, mine_hard_negatives};
use rankforge::retrieval::Retriever;
use rankforge::training::Trainer;
use serde_json::{Value, json};
use std::sync::Arc;

fn reference() -> LoadOptions {
    LoadOptions::new(&Device::reference().unwrap())
}

/// A model with the same parameters on the reference device.
fn moved<M: TextModel>(model: &M, open: impl Fn(&std::path::Path, &LoadOptions) -> M) -> M {
    let folder = tempfile::tempdir().unwrap();
    model.save_files(folder.path(), None).unwrap();
    let moved = open(folder.path(), &reference());
    assert!(moved.model().device().isa().is_none(), "the model is on the CPU");
    moved
}

fn cross_encoder_on_reference(model: &CrossEncoder) -> CrossEncoder {
    moved(model, |path, options| CrossEncoder::open_with(path, options).unwrap())
}

fn dual_encoder_on_reference(model: &DualEncoder) -> DualEncoder {
    moved(model, |path, options| DualEncoder::open_with(path, options).unwrap())
}

/// Trains a few steps; returns the losses, the norms of the gradients and the evaluation loss.
fn run<M: TextModel>(model: M, rows: &Rows, loss: &Arc<dyn Loss>, prompts: Value) -> Vec<f64> {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 3, "logging_strategy": "steps", "logging_steps": 1, "prompts": prompts,
        "eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "weight_decay": 0.1,
    });
    let mut trainer =
        Trainer::new(model, arguments(folder.path(), options), rows.clone(), loss.clone());
    trainer.eval_sets = trainer.train_sets.clone();
    let state = trainer.train().unwrap().state;
    let values = ["loss", "grad_norm", "eval_loss"]
        .map(|name| logged_values(&state, name).into_iter().map(|(_, value)| value));
    values.into_iter().flatten().collect()
}

/// Both devices compute the same; AdamW divides by the size of a gradient, so that roundings of
/// gradients near zero reach the parameters.
#[track_caller]
fn assert_close(what: &str, found: &[f64], expected: &[f64]) {
    assert_eq!((found.len(), expected.len()), (7, 7), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let difference = (found - expected).abs();
        assert!(difference <= 1e-4 * expected.abs().max(1e-2), "{what}: {found} for {expected}");
    }
}

#[test]
fn every_loss_of_cross_encoders_trains_on_the_reference_device() {
    for (name, rows) in [
        ("BinaryCrossEntropyLoss", labeled_pairs(12)),
        ("MultipleNegativesRankingLoss", pairs(12)),
        ("CachedMultipleNegativesRankingLoss", pairs(12)),
    ] {
        let settings = match name.starts_with("Cached") {
            true => json!({"mini_batch_size": 3}),
            false => json!({}),
        };
        let loss: Arc<dyn Loss> =
            cross_encoder_loss(name, settings.as_object().unwrap()).unwrap().into();
        let model = tiny_bert(0.1, 1);
        let other = cross_encoder_on_reference(&model);
        let expected = run(model, &rows, &loss, Value::Null);
        assert_close(name, &run(other, &rows, &loss, Value::Null), &expected);
    }
}

#[test]
fn every_loss_of_dual_encoders_trains_on_the_reference_device() {
    let prompts = || json!({"query": PROMPTS[0], "answer": PROMPTS[1]});
    for name in ["MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss"] {
        let settings = json!({"scale": 2});
        let loss: Arc<dyn Loss> =
            dual_encoder_loss(name, settings.as_object().unwrap()).unwrap().into();
        let model = tiny_dual(0.1, 1, false);
        let other = dual_encoder_on_reference(&model);
        let expected = run(model, &pairs(12), &loss, prompts());
        assert_close(name, &run(other, &pairs(12), &loss, prompts()), &expected);
    }
}

#[test]
fn scoring_retrieval_and_mining_find_the_same_on_the_reference_device() {
    let rows = pairs(17);
    let (queries, answers) = (rows.texts("query").unwrap(), rows.texts("answer").unwrap());
    let model = tiny_dual(0.0, 4, false);
    let other = dual_encoder_on_reference(&model);
    let nearest = |model: &DualEncoder| {
        let retriever = Retriever::new(model, &answers, &EncodeOptions::default()).unwrap();
        let found = retriever.search(&queries, 1, &EncodeOptions::default()).unwrap();
        found.into_iter().map(|found| found[0].score).collect::<Vec<f32>>()
    };
    for (found, expected) in nearest(&other).iter().zip(nearest(&model)) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
    let options = MiningOptions { num_negatives: 2, verbose: false, ..MiningOptions::default() };
    let mined = |model: &DualEncoder| mine_hard_negatives(&rows, model, &options).unwrap().rows;
    assert_eq!(mined(&other), mined(&model));

    let model = tiny_bert(0.0, 4);
    let other = cross_encoder_on_reference(&model);
    let pairs: Vec<(&str, &str)> = queries.iter().copied().zip(answers.iter().copied()).collect();
    let score = |model: &CrossEncoder| model.score(&pairs, &Default::default()).unwrap();
    for (found, expected) in score(&other).iter().zip(score(&model)) {
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }
}
