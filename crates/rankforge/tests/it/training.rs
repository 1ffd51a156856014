//! The training loop: falling losses, logging, checkpoints and callbacks.

use crate::support::Recorder;
use crate::testing::{
    RUN_FILES, arguments, bits, labeled_pairs, logged_values, loss, names, pairs, tiny_bert,
    tiny_bert_on, tiny_static, trainer,
};
use rankforge::encoder::{DualEncoder, TextModel};
use rankforge::losses::dual_encoder;
use rankforge::training::{Callback, Flow, StepReport, Trainer, TrainerState};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};

#[test]
fn training_fits_a_toy_data_set() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 150, "learning_rate": 3e-3, "warmup_ratio": 0.1, "weight_decay": 0.01,
        "per_device_train_batch_size": 8, "logging_strategy": "steps", "logging_steps": 10,
    });
    let mut trainer = trainer(folder.path(), options);
    let output = trainer.train().unwrap();
    let losses = logged_values(&output.state, "loss");
    let (first, last) = (losses[0].1, losses.last().unwrap().1);
    assert!(last < 0.15 && last < first / 4.0, "from {first} to {last}");
    assert!(output.training_loss < first && output.training_loss > last);
    let rows = labeled_pairs(30);
    let queries = rows.texts("query").unwrap();
    let answers = rows.texts("answer").unwrap();
    let pairs: Vec<(&str, &str)> = queries.into_iter().zip(answers).collect();
    let scores = trainer.model.predict(&pairs).unwrap();
    let labels = rows.numbers("label").unwrap();
    let right =
        scores.values.iter().zip(&labels).filter(|(s, l)| (**s > 0.5) == (**l > 0.5)).count();
    assert_eq!(right, 30);
}

#[test]
fn the_cached_ranking_loss_trains() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 60, "learning_rate": 3e-3, "logging_strategy": "steps", "logging_steps": 10,
        "batch_sampler": "no_duplicates", "max_tokens_per_chunk": 64,
    });
    let mut trainer = Trainer::new(
        tiny_bert(0.0, 1),
        arguments(folder.path(), options),
        pairs(16),
        loss(
            "CachedMultipleNegativesRankingLoss",
            json!({"mini_batch_size": 5, "num_negatives": 2}),
        ),
    );
    let losses = logged_values(&trainer.train().unwrap().state, "loss");
    assert!(losses.last().unwrap().1 < 0.7 * losses[0].1, "{losses:?}");
}

#[test]
fn log_records_have_the_mean_loss_of_their_window_the_learning_rate_and_the_epoch() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "num_train_epochs": 2, "max_steps": -1, "warmup_steps": 4, "max_grad_norm": 0.01,
        "logging_strategy": "steps", "logging_steps": 3, "logging_first_step": true,
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut trainer = trainer(folder.path(), options);
    trainer
        .callbacks
        .push(Box::new(LossRecorder { losses: seen.clone(), ..LossRecorder::default() }));
    let output = trainer.train().unwrap();
    // 30 rows in batches of 4 give 8 steps per epoch.
    assert_eq!((output.global_step, output.state.max_steps), (16, 16));
    let losses = logged_values(&output.state, "loss");
    let steps: Vec<u64> = losses.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [1, 3, 6, 9, 12, 15]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 16);
    let window = (seen[1] + seen[2]) / 2.0;
    assert!((losses[1].1 - window).abs() < 1e-12, "not the mean of steps 2 and 3");
    let mean = seen.iter().sum::<f64>() / 16.0;
    assert!((output.training_loss - mean).abs() < 1e-12);
    let rates = logged_values(&output.state, "learning_rate");
    assert_eq!(rates[0].1, 0.0, "the first step of a warm-up");
    assert_eq!(rates[1].1, 1e-3 * 2.0 / 4.0);
    assert_eq!(rates[2].1, 1e-3 * (16.0 - 5.0) / 12.0);
    assert!(
        logged_values(&output.state, "grad_norm").iter().all(|(_, norm)| *norm > 0.01),
        "clipped"
    );
    assert_eq!(output.state.log_history[1]["epoch"], json!(0.375));
    let last = output.state.log_history.last().unwrap();
    for key in ["train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss"]
    {
        assert!(last[key].as_f64().is_some_and(|value| value > 0.0), "{key}: {last:?}");
    }
    assert_eq!(last["epoch"], json!(2.0));
    assert_eq!(names(folder.path()), RUN_FILES);
}

/// A callback that records the loss of every step, and can stop the run.
#[derive(Default)]
struct LossRecorder {
    losses: Arc<Mutex<Vec<f64>>>,
    stop_after: Option<u64>,
}

impl Callback for LossRecorder {
    fn on_step_end(&mut self, state: &TrainerState, step: &StepReport) -> Flow {
        self.losses.lock().unwrap().push(step.loss);
        if self.stop_after == Some(state.global_step) { Flow::Stop } else { Flow::Continue }
    }
}

#[test]
fn a_callback_can_end_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({}));
    trainer
        .callbacks
        .push(Box::new(LossRecorder { stop_after: Some(5), ..LossRecorder::default() }));
    assert_eq!(trainer.train().unwrap().global_step, 5);
}

#[test]
fn checkpoints_are_complete_and_no_temporary_files_are_left() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"num_train_epochs": 1, "max_steps": -1, "save_strategy": "epoch"});
    let mut trainer = trainer(folder.path(), options);
    trainer.train().unwrap();
    assert_eq!(
        names(folder.path()),
        [
            "checkpoint-8",
            "log.jsonl",
            "report.html",
            "report.json",
            "run.json",
            "trainer_state.json",
            "training.svg"
        ]
    );
    let checkpoint = folder.path().join("checkpoint-8");
    let files = names(&checkpoint);
    for file in [
        "README.md",
        "config.json",
        "config_sentence_transformers.json",
        "model.safetensors",
        "modules.json",
        "optimizer.safetensors",
        "rng_state.json",
        "sampler.json",
        "scheduler.json",
        "tokenizer.json",
        "trainer_state.json",
        "training_args.json",
    ] {
        assert!(files.iter().any(|name| name == file), "{file} is not in {files:?}");
    }
    let text = std::fs::read_to_string(checkpoint.join("trainer_state.json")).unwrap();
    assert!(text.starts_with("{\n  \"best_global_step\": null,\n"), "{text}");
    let state: serde_json::Map<String, Value> = serde_json::from_str(&text).unwrap();
    let keys: Vec<&String> = state.keys().collect();
    assert!(keys.is_sorted() && keys.len() == 20, "{keys:?}");
}

#[test]
fn training_gives_the_same_bits_for_any_number_of_threads() {
    let run = |threads| {
        let folder = tempfile::tempdir().unwrap();
        let mut trainer = trainer(folder.path(), json!({"max_steps": 4}));
        trainer.model = tiny_bert_on(threads, 0.1, 1);
        trainer.train().unwrap();
        bits(trainer.model.model())
    };
    assert_eq!(run(1), run(3));
}

fn static_trainer(folder: &Path, options: Value) -> Trainer<DualEncoder> {
    let loss = dual_encoder::MultipleNegativesRankingLoss::default();
    Trainer::new(tiny_static(42), arguments(folder, options), pairs(16), loss)
}

#[test]
fn a_static_dual_encoder_can_be_trained() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 80, "learning_rate": 0.02, "batch_sampler": "no_duplicates",
        "logging_strategy": "steps", "logging_steps": 10, "save_strategy": "steps",
        "save_steps": 80,
    });
    let mut trainer = static_trainer(folder.path(), options);
    let losses = logged_values(&trainer.train().unwrap().state, "loss");
    assert!(losses.last().unwrap().1 < 0.7 * losses[0].1, "{losses:?}");
    let card = std::fs::read_to_string(folder.path().join("checkpoint-80/README.md")).unwrap();
    assert!(card.contains("StaticEmbedding(") && card.contains("SentenceTransformer("), "{card}");
    assert!(card.contains("pipeline_tag: sentence-similarity"), "{card}");
}

#[test]
fn half_precision_of_a_static_dual_encoder_has_no_effect_and_gives_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let run = |options| {
        let recorder = Arc::new(Recorder::default());
        let mut trainer = static_trainer(folder.path(), options);
        trainer.reporter = recorder.clone();
        trainer.train().unwrap();
        (bits(trainer.model.model()), recorder.warned("bf16 = true has no effect"))
    };
    let (expected, warned) = run(json!({"max_steps": 3}));
    assert!(!warned);
    assert_eq!(run(json!({"max_steps": 3, "bf16": true})), (expected, true));
}
