//! Runs with trackers, of both kinds of models.

use crate::support::{Recorder, message};
use crate::testing::{arguments, names, pairs, tiny_dual, trainer};
use rankforge::losses::{Loss, dual_encoder_loss};
use rankforge::trackers::{Environment, Limits};
use rankforge::training::{ResumeFrom, Tracking, Trainer};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What trackers need, with variables of the environment.
fn tracking(variables: &[(&str, &str)]) -> Tracking {
    let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    let environment = Environment { variables: variables.collect(), ..Environment::default() };
    let limits = Limits { end: Duration::from_millis(500), ..Limits::default() };
    Tracking { environment, limits }
}

fn options(report_to: Value) -> Value {
    json!({
        "max_steps": 4, "logging_strategy": "steps", "logging_steps": 1, "save_strategy": "steps",
        "save_steps": 2, "report_to": report_to,
    })
}

/// The directories of runs of Weights & Biases.
fn offline_runs(folder: &Path) -> Vec<String> {
    let names = names(&folder.join("wandb")).into_iter();
    names.filter(|name| name.starts_with("offline-run-")).collect()
}

#[test]
fn trackers_get_runs_of_both_kinds_of_models_and_a_resumed_run_continues_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("WANDB_DIR", folder.path().to_str().unwrap())];
    let reranker = folder.path().join("reranker");
    let run = |resume: Option<ResumeFrom>| {
        let mut trainer = trainer(&reranker, options(json!(["tensorboard", "wandb"])));
        trainer.tracking = tracking(&variables);
        trainer.arguments.resume_from_checkpoint = resume;
        trainer.train().unwrap();
        let note = std::fs::read_to_string(reranker.join("trackers/wandb.json")).unwrap();
        let note: Value = serde_json::from_str(&note).unwrap();
        note["id"].as_str().unwrap().to_owned()
    };
    let first = run(None);
    assert_eq!(names(&reranker.join("trackers")), ["tensorboard.json", "wandb.json"]);
    assert_eq!(names(&reranker.join("runs")).len(), 1);
    assert_eq!(run(Some(ResumeFrom::Path(reranker.join("checkpoint-2")))), first);
    assert_eq!(names(&reranker.join("runs")).len(), 1, "a resumed run has the same directory");
    assert!(run(None) != first, "another run in the same directory");
    assert!(names(&reranker.join("earlier-run-2")).contains(&"trackers".to_owned()));

    let before = offline_runs(folder.path()).len();
    let arguments = arguments(&folder.path().join("dual"), options(json!("wandb")));
    let loss: Arc<dyn Loss> =
        dual_encoder_loss("MultipleNegativesRankingLoss", &Map::new()).unwrap().into();
    let mut dual = Trainer::new(tiny_dual(0.0, 1, true), arguments, pairs(8), loss);
    dual.tracking = tracking(&variables);
    dual.train().unwrap();
    assert_eq!(offline_runs(folder.path()).len(), before + 1);
}

#[test]
fn a_tracker_that_cannot_be_reached_changes_nothing_of_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let train = |report_to: Value, name: &str| {
        let mut trainer = trainer(&folder.path().join(name), options(report_to));
        let recorder = Arc::new(Recorder::default());
        trainer.reporter = recorder.clone();
        // Nothing listens at the port of discarded data.
        trainer.tracking = tracking(&[("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")]);
        let output = trainer.train().unwrap();
        (output.training_loss.to_bits(), recorder.warnings())
    };
    let (expected, none) = train(json!("none"), "none");
    assert_eq!(none, [""; 0]);
    let (loss, warnings) = train(json!("mlflow"), "mlflow");
    assert_eq!(loss, expected);
    assert!(warnings[0].starts_with("mlflow: http://127.0.0.1:9: "), "{warnings:?}");
    assert_eq!(warnings[1..], ["mlflow: 5 of 5 log records did not get there"]);
}

#[test]
fn what_a_tracker_lacks_is_an_error_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let train = |options: Value| {
        let mut trainer = trainer(folder.path(), options);
        let recorder = Arc::new(Recorder::default());
        trainer.reporter = recorder.clone();
        (trainer.train(), recorder)
    };
    let text = message(train(options(json!("mlflow"))).0);
    assert!(
        text.starts_with("report_to: expected MLFLOW_TRACKING_URI to be the address"),
        "{text}"
    );
    let mut with_directory = options(json!("none"));
    with_directory["logging_dir"] = json!("somewhere");
    let (result, recorder) = train(with_directory);
    result.unwrap();
    assert!(recorder.warned("logging_dir has no effect: tensorboard is not in report_to"));
}
