//! The log of a run as JSON lines.

use crate::support::Recorder;
use crate::testing::{eval_set, labeled_pairs, names, trainer};
use rankforge::encoder::CrossEncoder;
use rankforge::training::{LogRecord, ResumeFrom, Trainer};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

fn lines(folder: &Path) -> Vec<LogRecord> {
    let text = std::fs::read_to_string(folder.join("log.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A trainer that logs every other step, evaluates and saves after four.
fn logging(folder: &Path) -> Trainer<CrossEncoder> {
    let options = json!({
        "max_steps": 8, "logging_strategy": "steps", "logging_steps": 2,
        "eval_strategy": "steps", "eval_steps": 4,
        "save_strategy": "steps", "save_steps": 4,
    });
    let mut trainer = trainer(folder, options);
    trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(8)));
    trainer
}

#[test]
fn every_record_of_the_log_is_a_line_with_its_time_and_losses_have_rates_and_memory() {
    let folder = tempfile::tempdir().unwrap();
    let output = logging(folder.path()).train().unwrap();
    let lines = lines(folder.path());
    assert_eq!(lines.len(), output.state.log_history.len());
    let mut before = 1.6e9;
    for (line, record) in lines.iter().zip(&output.state.log_history) {
        let keys: Vec<&String> = line.keys().take(2).collect();
        assert_eq!(keys, ["step", "epoch"]);
        assert!(record.iter().all(|(name, value)| line[name] == *value), "{line:?}");
        let time = line["time"].as_f64().unwrap();
        assert!(time >= before, "{line:?}");
        before = time;
        let of_losses = record.contains_key("loss");
        for rate in ["samples_per_second", "tokens_per_second"] {
            let rate = line.get(rate).map(|rate| rate.as_f64().unwrap());
            assert_eq!(rate.is_some_and(|rate| rate > 0.0), of_losses, "{line:?}");
        }
        let memory = ["memory_bytes", "peak_memory_bytes"];
        let known = memory.iter().all(|name| line.contains_key(*name));
        assert_eq!(known, of_losses && cfg!(target_os = "linux"), "{line:?}");
    }
    for name in ["loss", "eval_loss"] {
        assert!(lines.iter().any(|line| line.contains_key(name)), "{name}: {lines:?}");
    }
    assert!(lines.last().unwrap().contains_key("train_runtime"));
}

#[test]
fn a_resumed_run_keeps_the_lines_before_its_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    logging(folder.path()).train().unwrap();
    let first = lines(folder.path());
    let resumed = |to: &Path| {
        let mut trainer = logging(to);
        let checkpoint = folder.path().join("checkpoint-4");
        trainer.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        let output = trainer.train().unwrap();
        (lines(to), output.state.log_history)
    };
    let other = tempfile::tempdir().unwrap();
    let (elsewhere, history) = resumed(other.path());
    assert_eq!(elsewhere.len(), history.len());
    assert!(!elsewhere[0].contains_key("time"), "{elsewhere:?}");
    assert!(elsewhere.iter().zip(&history).all(|(line, record)| line["step"] == record["step"]));
    let (same, history) = resumed(folder.path());
    assert_eq!(same.len(), history.len());
    // Two records of losses and one of an evaluation.
    assert_eq!(same[..3], first[..3]);
    assert!(same[3]["time"].as_f64() > first.last().unwrap()["time"].as_f64());
}

#[test]
fn a_log_file_that_cannot_be_written_is_one_warning() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("log.jsonl")).unwrap();
    let mut trainer = logging(folder.path());
    let recorder = Arc::new(Recorder::default());
    trainer.reporter = recorder.clone();
    trainer.train().unwrap();
    let warnings = recorder.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("the run goes on without its log file"), "{warnings:?}");
    assert!(names(folder.path()).contains(&"trainer_state.json".to_owned()));
}
