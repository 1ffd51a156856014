//! `gradient_checkpointing`: less memory, and the same bits.

use crate::batches::{WHOLE, prepared};
use crate::testing::{
    arguments, bits, labeled_pairs, loss, pairs, timeless, tiny_bert, tiny_dual, trainer,
};
use rankforge::encoder::TextModel;
use rankforge::losses::{Loss, dual_encoder_loss};
use rankforge::training::{GradientCache, IntervalStrategy, Trainer, TrainingSet};
use serde_json::{Map, json};
use std::sync::Arc;

#[test]
fn a_run_that_computes_activations_again_ends_in_the_same_bits() {
    for options in [
        json!({"max_steps": 4}),
        json!({"max_steps": 4, "gradient_accumulation_steps": 2, "max_tokens_per_chunk": 40}),
        json!({"max_steps": 4, "bf16": true, "eval_strategy": "steps", "eval_steps": 2}),
    ] {
        let run = |again: bool| {
            let folder = tempfile::tempdir().unwrap();
            let mut options = options.clone();
            options["gradient_checkpointing"] = json!(again);
            let mut trainer = trainer(folder.path(), options);
            trainer.model = tiny_bert(0.2, 5);
            if trainer.arguments.eval_strategy != IntervalStrategy::No {
                trainer.eval_sets = trainer.train_sets.clone();
            }
            let state = trainer.train().unwrap().state;
            (bits(trainer.model.model()), timeless(&state))
        };
        assert!(run(false) == run(true), "{options}");
    }
}

#[test]
fn losses_of_several_layers_and_dual_encoders_have_the_same_bits() {
    let run = |again: bool| {
        let folder = tempfile::tempdir().unwrap();
        let settings = json!({
            "loss": {"name": "MultipleNegativesRankingLoss"}, "n_layers_per_step": -1,
        });
        let loss = dual_encoder_loss("AdaptiveLayerLoss", settings.as_object().unwrap()).unwrap();
        let options = json!({"max_steps": 3, "gradient_checkpointing": again});
        let set = TrainingSet {
            name: String::new(),
            rows: Arc::new(pairs(12)),
            loss: loss.into(),
            prompts: None,
            columns: None,
        };
        let arguments = arguments(folder.path(), options);
        let mut trainer = Trainer::on_sets(tiny_dual(0.1, 5, true), arguments, vec![set]);
        trainer.train().unwrap();
        bits(trainer.model.model())
    };
    assert!(run(false) == run(true));
}

#[test]
fn the_activations_of_one_block_are_kept_instead_of_all() {
    // Mean pooling reads all tokens, so that no block is smaller than another.
    let model = tiny_dual(0.1, 5, true);
    let loss: Arc<dyn Loss> =
        dual_encoder_loss("MultipleNegativesRankingLoss", &Map::new()).unwrap().into();
    let batch = prepared(&model, &loss, &pairs(16), &[]);
    let bytes = |again: bool| {
        let mut cache = GradientCache::new(model.model()).with_recomputation(again);
        cache.add_gradients(model.model(), &*loss, &batch, WHOLE, 1.0);
        cache.activations_in_bytes()
    };
    // Two blocks: one of them is saved, less the input of the second and what both share.
    assert!(bytes(true) * 10 < bytes(false) * 8, "{} of {}", bytes(true), bytes(false));
}

#[test]
fn auto_find_batch_size_keeps_a_run_within_its_memory() {
    let model = tiny_bert(0.2, 5);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let batch = prepared(&model, &loss, &labeled_pairs(16), &[]);
    let tokens: usize = batch.tokens.iter().map(|sequence| sequence.ids.len()).sum();
    for again in [false, true] {
        let mut cache = GradientCache::new(model.model()).with_recomputation(again);
        cache.add_gradients(model.model(), &*loss, &batch, WHOLE, 1.0);
        let held = cache.activations_in_bytes();
        // Buffers are rounded up, which counts in a model as small as this.
        let limit = 4 * tokens * model.model().activations_per_token(again, 0) * 21 / 20;
        assert!(held <= limit && 2 * held > limit, "{held} of {limit}");
    }
    let run = |memory: &str, again: bool| {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({
            "max_steps": 2, "auto_find_batch_size": true, "max_memory": memory,
            "gradient_checkpointing": again,
        });
        trainer(folder.path(), options).train().map(|output| output.training_loss)
    };
    let message = run("10 KB", false).unwrap_err().to_string();
    let expected = "max_memory: expected at least 1 MB, for the parameters and one sequence of 24";
    assert!(message.starts_with(expected), "{message}");
    // Chunks of different sizes sum in another order.
    let difference = run("1 MB", false).unwrap() - run("1 GB", false).unwrap();
    assert!(difference.abs() < 1e-5, "{difference}");
}
