//! Correlations of scores with gold scores.

use super::{
    GOLD, PREDICTED, assert_metrics, correlation, numbered, outside, read_lines, recording_context,
};
use crate::support::{Recorder, Scorer, message, scorer};
use rankforge::Error;
use rankforge::base::FileError;
use rankforge::encoder::Score;
use rankforge::evaluation::{
    CrossEncoderCorrelationEvaluator, EvaluationContext, Evaluator, pearson, spearman,
};
use std::path::Path;
use std::sync::Arc;

/// A model that gives the pairs of [`numbered`] these scores.
fn by_number(scores: [f32; 5]) -> Scorer<impl Fn(&str, &str) -> f32 + Send + Sync> {
    scorer(move |text, _| scores[text.parse::<usize>().unwrap()])
}

#[test]
fn correlations_have_the_golden_values() {
    let metrics = outside(&correlation(""), &by_number(PREDICTED));
    assert_metrics(&metrics, &[("pearson", 0.990888), ("spearman", 0.974679)]);
    let metrics = outside(&correlation("sts_dev"), &by_number(PREDICTED));
    assert_metrics(&metrics, &[("sts_dev_pearson", 0.990888), ("sts_dev_spearman", 0.974679)]);
    let evaluator: &dyn Evaluator<dyn Score> = &correlation("sts_dev");
    assert_eq!(evaluator.primary_metric(&metrics), "sts_dev_spearman");
    assert_eq!(evaluator.class_name(), "CrossEncoderCorrelationEvaluator");
    assert_eq!(evaluator.name(), "sts_dev");
    assert_eq!(evaluator.config(), serde_json::json!({}));
}

#[test]
fn correlations_of_linear_and_monotonic_functions_are_exact() {
    let x = [3.0, -1.0, 4.0, 1.5];
    let line = x.map(|x| 7.0 - 2.0 * x);
    assert!((pearson(&x, &x) - 1.0).abs() < 1e-15);
    assert!((pearson(&x, &line) + 1.0).abs() < 1e-15);
    assert_eq!(spearman(&x, &line), -1.0);
    assert_eq!(spearman(&x, &x.map(f64::exp)), 1.0);
}

#[test]
fn constant_predictions_give_nan_and_a_warning() {
    // The mean of 1/3 five times is not exactly 1/3, so the variance is not exactly zero.
    let recorder = Arc::new(Recorder::default());
    let constant = [1.0 / 3.0; 5];
    let evaluator: &dyn Evaluator<dyn Score> = &correlation("");
    let metrics = evaluator.evaluate(&by_number(constant), &recording_context(&recorder)).unwrap();
    assert!(metrics.get("pearson").unwrap().is_nan() && metrics.get("spearman").unwrap().is_nan());
    assert!(
        recorder.warnings()[0].contains("all 5 predictions are 0.33"),
        "{:?}",
        recorder.warnings()
    );
    assert_eq!(recorder.messages()[1], "Correlation:\tPearson: nan\tSpearman: nan");
    let broken = [0.1, f32::NAN, 0.3, 0.4, 0.5];
    let text = message(evaluator.evaluate(&by_number(broken), &recording_context(&recorder)));
    assert_eq!(text, "expected finite scores, got NaN for pair 2 of 5");
}

#[test]
fn correlation_needs_at_least_two_pairs_with_finite_scores() {
    let new = |pairs: usize, scores: &[f64]| {
        message(CrossEncoderCorrelationEvaluator::new(numbered(pairs), scores.to_vec(), ""))
    };
    assert!(new(2, &[0.5]).contains("2 pairs and 1 scores"));
    assert!(new(1, &[0.5]).contains("at least two pairs"));
    assert!(new(2, &[0.5, f64::NAN]).contains("row 2"));
}

#[test]
fn the_results_file_has_one_header() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("eval");
    let evaluator: &dyn Evaluator<dyn Score> = &correlation("dev");
    let recorder = Arc::new(Recorder::default());
    for (epoch, steps) in [(-1.0, -1), (0.5, 20), (1.0, -1)] {
        let output_path = Some(output.as_path());
        let context =
            EvaluationContext { output_path, epoch, steps, ..recording_context(&recorder) };
        evaluator.evaluate(&by_number(GOLD.map(|gold| gold as f32)), &context).unwrap();
    }
    let file = output.join("CrossEncoderCorrelationEvaluator_dev_results.csv");
    let lines = read_lines(&file);
    assert_eq!(lines[0], "epoch,steps,Pearson_Correlation,Spearman_Correlation");
    let starts: Vec<&str> = lines[1..].iter().map(|line| &line[..line.len().min(7)]).collect();
    assert!(starts[0].starts_with("-1,-1,"), "{lines:?}");
    assert!(starts[1].starts_with("0.5,20,") && starts[2].starts_with("1.0,-1,"), "{lines:?}");
    assert!(lines[1..].iter().all(|line| line.ends_with(",1.0")), "{lines:?}");
    assert_eq!(lines.len(), 4);
    let first_lines: Vec<String> = recorder.messages().into_iter().step_by(2).collect();
    assert_eq!(
        first_lines,
        [
            "CrossEncoderCorrelationEvaluator: Evaluating the model on dev dataset:",
            "CrossEncoderCorrelationEvaluator: Evaluating the model on dev dataset in epoch 0.5 \
             after 20 steps:",
            "CrossEncoderCorrelationEvaluator: Evaluating the model on dev dataset after epoch \
             1.0:",
        ]
    );
    // No temporary file is left, and the file has the permissions of a normal one.
    assert_eq!(std::fs::read_dir(&output).unwrap().count(), 1);
    let plain = output.join("plain");
    std::fs::write(&plain, "").unwrap();
    let permissions = |path: &Path| std::fs::metadata(path).unwrap().permissions();
    assert_eq!(permissions(&file), permissions(&plain));
}

#[test]
fn a_file_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let blocked = folder.path().join("file");
    std::fs::write(&blocked, "").unwrap();
    let evaluator: &dyn Evaluator<dyn Score> = &correlation("dev");
    let context = EvaluationContext { output_path: Some(&blocked), ..EvaluationContext::default() };
    let error = evaluator.evaluate(&by_number(PREDICTED), &context).unwrap_err();
    let Error::File(FileError::Io { path, .. }) = &error else { panic!("{error}") };
    assert!(path.starts_with(&blocked), "{error}");
}
