//! Stopping and resuming a run gives the same bits as running it without a stop.

use crate::support::Recorder;
use crate::testing::{
    arguments, bits, eval_set, labeled_pairs, loss, names, pairs, timeless, tiny_bert, trainer,
};
use rankforge::Error;
use rankforge::base::Stop;
use rankforge::data::Rows;
use rankforge::encoder::{CrossEncoder, TextModel};
use rankforge::losses::Loss;
use rankforge::training::{
    Callback, Checkpoint, Flow, LossScaler, ResumeFrom, StepReport, Trainer, TrainerState,
};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;

struct Setup {
    name: &'static str,
    options: Value,
    loss: fn() -> Arc<dyn Loss>,
    rows: fn() -> Rows,
    loss_scaler: LossScaler,
}

fn setups() -> Vec<Setup> {
    let ranking = || {
        loss(
            "CachedMultipleNegativesRankingLoss",
            json!({"mini_batch_size": 3, "num_negatives": 2}),
        )
    };
    vec![
        Setup {
            name: "accumulation over two and a half epochs",
            options: json!({
                "max_steps": -1, "num_train_epochs": 2.5, "gradient_accumulation_steps": 3,
                "eval_strategy": "epoch", "logging_strategy": "steps", "logging_steps": 2,
                "weight_decay": 0.1, "warmup_ratio": 0.2, "lr_scheduler_type": "cosine",
            }),
            loss: || loss("BinaryCrossEntropyLoss", json!({})),
            rows: || labeled_pairs(22),
            loss_scaler: LossScaler::default(),
        },
        Setup {
            name: "no duplicates with a cached ranking loss",
            options: json!({
                "max_steps": 9, "batch_sampler": "no_duplicates", "logging_strategy": "epoch",
                "eval_strategy": "steps", "eval_steps": 3, "data_seed": 5,
            }),
            loss: ranking,
            rows: || pairs(17),
            loss_scaler: LossScaler::default(),
        },
        Setup {
            name: "bf16",
            options: json!({"max_steps": 6, "bf16": true, "logging_steps": 2}),
            loss: ranking,
            rows: || pairs(17),
            loss_scaler: LossScaler::default(),
        },
        Setup {
            name: "fp16 that overflows at first and whenever the scale grows",
            options: json!({
                "max_steps": 12, "fp16": true, "warmup_steps": 2, "logging_strategy": "steps",
                "logging_steps": 5,
            }),
            loss: || loss("BinaryCrossEntropyLoss", json!({})),
            rows: || labeled_pairs(22),
            loss_scaler: LossScaler {
                scale: 2f32.powi(24),
                growth_interval: 3,
                ..LossScaler::default()
            },
        },
    ]
}

/// A trainer with a new model that saves every step.
fn prepared(setup: &Setup, folder: &Path) -> Trainer<CrossEncoder> {
    let mut options = setup.options.clone();
    options["save_strategy"] = json!("steps");
    options["save_steps"] = json!(1);
    let arguments = arguments(folder, options);
    let mut trainer = Trainer::new(tiny_bert(0.2, 3), arguments, (setup.rows)(), (setup.loss)());
    trainer.eval_sets.push(eval_set(&trainer, (setup.rows)()));
    trainer.loss_scaler = setup.loss_scaler.clone();
    trainer
}

#[test]
fn a_run_resumed_at_any_checkpoint_gives_the_same_bits_and_the_same_log() {
    for setup in setups() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = prepared(&setup, folder.path());
        let expected = whole.train().unwrap();
        let steps = expected.global_step;
        assert!(steps >= 5, "{steps}");
        for step in 1..=steps {
            let other = tempfile::tempdir().unwrap();
            let mut resumed = prepared(&setup, other.path());
            let checkpoint = folder.path().join(format!("checkpoint-{step}"));
            resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
            let found = resumed.train().unwrap();
            assert_eq!(found.global_step, steps);
            let what = format!("{}, from step {step} of {steps}", setup.name);
            let equal = bits(resumed.model.model()) == bits(whole.model.model());
            assert!(equal, "{what}: the parameters differ");
            assert_eq!(timeless(&found.state), timeless(&expected.state), "{what}");
            assert_eq!(found.state.epoch, expected.state.epoch, "{what}");
            assert_eq!(found.training_loss, expected.training_loss, "{what}");
        }
    }
}

/// A callback that requests a stop after a step, as Ctrl-C does.
struct Interrupt {
    after: u64,
    stop: Stop,
}

impl Callback for Interrupt {
    fn on_step_end(&mut self, state: &TrainerState, _step: &StepReport) -> Flow {
        if state.global_step == self.after {
            self.stop.request();
        }
        Flow::Continue
    }
}

#[test]
fn an_interrupted_run_saves_a_checkpoint_and_resumes_to_the_same_bits() {
    let options = json!({
        "max_steps": -1, "num_train_epochs": 2, "logging_strategy": "epoch",
        "save_strategy": "epoch", "eval_strategy": "epoch", "load_best_model_at_end": true,
    });
    let run = |folder: &Path, after: Option<u64>, resume: bool| {
        let mut trainer = trainer(folder, options.clone());
        trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(8)));
        trainer.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(resume));
        if let Some(after) = after {
            let stop = trainer.stop.clone();
            trainer.callbacks.push(Box::new(Interrupt { after, stop }));
        }
        let result = trainer.train();
        assert_eq!(trainer.output, result.as_ref().ok().cloned());
        (result, bits(trainer.model.model()))
    };
    let folder = tempfile::tempdir().unwrap();
    let (result, expected) = run(folder.path(), None, false);
    let log = timeless(&result.unwrap().state);
    // Within the first epoch, at its last step, at the first step of the second epoch, and at the
    // last step of the run.
    for after in [3, 8, 9, 16] {
        let folder = tempfile::tempdir().unwrap();
        let (result, _) = run(folder.path(), Some(after), false);
        let error = result.unwrap_err();
        let expected_path = folder.path().join(format!("checkpoint-{after}"));
        let message = format!(
            "interrupted after step {after} of 16; {} holds the run and can be resumed",
            expected_path.display()
        );
        assert_eq!(error.to_string(), message);
        let Error::Interrupted { step, max_steps, checkpoint } = error else { panic!("{error}") };
        assert_eq!((step, max_steps, &checkpoint), (after, 16, &expected_path));
        assert_eq!(Checkpoint::read(&checkpoint).unwrap().state.global_step, after);
        let (result, found) = run(folder.path(), None, true);
        assert_eq!(timeless(&result.unwrap().state), log, "interrupted after {after}");
        assert!(found == expected, "interrupted after {after}: the parameters differ");
    }
}

#[test]
fn incomplete_and_temporary_checkpoints_are_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 4, "save_strategy": "steps", "save_steps": 2});
    trainer(folder.path(), options).train().unwrap();
    let copied = folder.path().join("checkpoint-99");
    std::fs::create_dir(&copied).unwrap();
    std::fs::copy(
        folder.path().join("checkpoint-4/model.safetensors"),
        copied.join("model.safetensors"),
    )
    .unwrap();
    std::fs::create_dir(folder.path().join(".incomplete-xyz")).unwrap();
    std::fs::write(folder.path().join("checkpoint-100"), "a file").unwrap();
    let newest = Checkpoint::newest(folder.path()).unwrap();
    assert_eq!(newest.path, folder.path().join("checkpoint-4"));
    assert_eq!(newest.state.global_step, 4);
    let message = Checkpoint::read(&copied).unwrap_err().to_string();
    assert!(message.contains("optimizer.safetensors is missing"), "{message}");
    // The newest that is complete is resumed from, and the others are named.
    let recorder = Arc::new(Recorder::default());
    let mut resumed = trainer(folder.path(), json!({"max_steps": 4}));
    resumed.reporter = recorder.clone();
    resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    resumed.train().unwrap();
    assert!(recorder.warned("checkpoint-99 is incomplete, optimizer.safetensors is missing"));
    // A folder of checkpoints, and a checkpoint that does not exist, are none.
    for (path, got) in [(folder.path().to_owned(), "something else"), (copied, "nothing")] {
        let message = Checkpoint::read(&path).unwrap_err().to_string();
        let newest = folder.path().join("checkpoint-4");
        let expected = format!(
            "expected a checkpoint, got {got}; the newest in {} is {}",
            folder.path().display(),
            newest.display()
        );
        assert!(message.ends_with(&expected), "{message}");
    }
}

#[test]
fn resuming_without_a_checkpoint_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({}));
    trainer.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    let message = trainer.train().unwrap_err().to_string();
    assert!(message.contains("found none"), "{message}");
}

#[test]
fn a_checkpoint_without_the_optimizer_cannot_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 2, "save_strategy": "steps", "save_only_model": true});
    let mut run = trainer(folder.path(), options);
    run.train().unwrap();
    let files = names(&folder.path().join("checkpoint-2"));
    assert!(files.contains(&"model.safetensors".to_owned()), "{files:?}");
    assert!(!files.contains(&"optimizer.safetensors".to_owned()), "{files:?}");
    run.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    assert!(run.train().unwrap_err().to_string().contains("found none"));
}

#[test]
fn a_changed_argument_is_an_error_if_it_affects_the_data_order_else_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 4, "save_strategy": "steps", "save_steps": 2});
    trainer(folder.path(), options.clone()).train().unwrap();
    let recorder = Arc::new(Recorder::default());
    let resumed = |change: Value| {
        let mut options = options.clone();
        options.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        options["resume_from_checkpoint"] = json!(folder.path().join("checkpoint-2"));
        let mut trainer = trainer(folder.path(), options);
        trainer.reporter = recorder.clone();
        trainer
    };
    for change in [
        json!({"per_device_train_batch_size": 8}),
        json!({"seed": 1}),
        json!({"batch_sampler": "no_duplicates"}),
        json!({"multi_dataset_batch_sampler": "round_robin"}),
        json!({"dataloader_drop_last": true}),
    ] {
        let name = change.as_object().unwrap().keys().next().unwrap().clone();
        let message = resumed(change).train().unwrap_err().to_string();
        assert!(message.starts_with(&name) && message.contains("order of the data"), "{message}");
    }
    let mut fewer = resumed(json!({}));
    fewer.train_sets[0].rows = Arc::new(labeled_pairs(29));
    let message = fewer.train().unwrap_err().to_string();
    assert!(message.starts_with("rows of the training data: expected [30] as in "), "{message}");
    assert!(message.ends_with("got [29]"), "{message}");
    resumed(json!({"learning_rate": 1e-4})).train().unwrap();
    assert!(recorder.warned("learning_rate = 0.0001 differs from 0.001"));
    resumed(json!({"seed": 1, "ignore_data_skip": true})).train().unwrap();
    assert!(recorder.warned("seed = 1 differs from 42"));
}

#[test]
fn a_truncated_optimizer_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({"max_steps": 2, "save_strategy": "steps"});
    let mut run = trainer(folder.path(), options);
    run.train().unwrap();
    let optimizer = folder.path().join("checkpoint-2/optimizer.safetensors");
    let mut bytes = std::fs::read(&optimizer).unwrap();
    bytes.truncate(bytes.len() / 2);
    std::fs::write(&optimizer, bytes).unwrap();
    run.arguments.resume_from_checkpoint = Some(ResumeFrom::Newest(true));
    let message = run.train().unwrap_err().to_string();
    assert!(message.contains("optimizer.safetensors"), "{message}");
}
