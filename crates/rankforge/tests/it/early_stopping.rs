//! Runs whose evaluations decide: early stopping, and learning rates that fall on a plateau.

use crate::testing::{arguments, eval_set, labeled_pairs, logged_values, timeless, trainer};
use rankforge::Metrics;
use rankforge::encoder::CrossEncoder;
use rankforge::evaluation::{EvaluationContext, Evaluator};
use rankforge::training::{ResumeFrom, Trainer, TrainerState};
use serde_json::{Value, json};
use std::path::Path;

/// An evaluator whose metric, by the number of the evaluation, is given.
struct Given(Vec<f64>);

impl Evaluator<CrossEncoder> for Given {
    fn name(&self) -> &str {
        "dev"
    }

    fn class_name(&self) -> &'static str {
        "Given"
    }

    fn metric_names(&self, _: &CrossEncoder) -> Vec<String> {
        vec!["dev_score".to_owned()]
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        "dev_score".to_owned()
    }

    fn config(&self) -> Value {
        json!({})
    }

    fn evaluate(
        &self,
        _: &CrossEncoder,
        context: &EvaluationContext<'_>,
    ) -> Result<Metrics, rankforge::Error> {
        let mut metrics = Metrics::new();
        metrics.insert("dev_score", self.0[context.steps as usize - 1]);
        Ok(metrics)
    }
}

/// A run that is evaluated after each of up to 8 steps.
fn run(folder: &Path, scores: &[f64], options: Value, from: Option<&Path>) -> TrainerState {
    let mut all = json!({
        "max_steps": 8, "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1,
        "metric_for_best_model": "dev_score", "logging_steps": 1,
        "save_strategy": "steps", "logging_strategy": "steps",
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let mut trainer: Trainer<CrossEncoder> = trainer(folder, all);
    trainer.evaluators = vec![Box::new(Given(scores.to_vec()))];
    trainer.arguments.resume_from_checkpoint = from.map(|path| ResumeFrom::Path(path.to_owned()));
    trainer.train().unwrap().state
}

#[test]
fn a_run_ends_after_patience_evaluations_that_are_no_better() {
    let scores = [0.1, 0.2, 0.2, 0.25, 0.24, 0.26, 0.1, 0.3];
    for (patience, threshold, expected) in [
        (1, 0.0, 3),
        (2, 0.0, 8),
        // The best metric is that of all evaluations: 0.25 is 0.05 better than it, no more.
        (2, 0.06, 4),
        (3, 0.06, 5),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let options = json!({
            "early_stopping_patience": patience, "early_stopping_threshold": threshold,
        });
        let state = run(folder.path(), &scores, options.clone(), None);
        assert_eq!(state.global_step, expected, "patience {patience}, threshold {threshold}");
        let stopping = &state.stateful_callbacks["EarlyStoppingCallback"];
        let count = &stopping["attributes"]["early_stopping_patience_counter"];
        assert_eq!(*count, if expected == 8 { json!(0) } else { json!(patience) });
        // A resumed run ends at the same step.
        for step in 1..expected {
            let checkpoint = folder.path().join(format!("checkpoint-{step}"));
            let other = tempfile::tempdir().unwrap();
            let resumed = run(other.path(), &scores, options.clone(), Some(&checkpoint));
            assert_eq!(timeless(&resumed), timeless(&state), "from step {step}");
        }
    }
}

#[test]
fn the_learning_rate_falls_when_evaluations_get_no_better_also_in_a_resumed_run() {
    let scores = [0.1, 0.2, 0.2, 0.2, 0.25, 0.1, 0.1, 0.1];
    let options = json!({
        "lr_scheduler_type": "reduce_lr_on_plateau", "learning_rate": 1e-3,
        "lr_scheduler_kwargs": {"factor": 0.5, "patience": 1},
    });
    let folder = tempfile::tempdir().unwrap();
    let state = run(folder.path(), &scores, options.clone(), None);
    let rates: Vec<f64> =
        logged_values(&state, "learning_rate").into_iter().map(|(_, rate)| rate).collect();
    assert_eq!(rates, [1e-3, 1e-3, 1e-3, 1e-3, 5e-4, 5e-4, 5e-4, 2.5e-4]);
    for step in 1..8 {
        let checkpoint = folder.path().join(format!("checkpoint-{step}"));
        let other = tempfile::tempdir().unwrap();
        let resumed = run(other.path(), &scores, options.clone(), Some(&checkpoint));
        assert_eq!(timeless(&resumed), timeless(&state), "from step {step}");
    }
}

#[test]
fn early_stopping_and_plateaus_need_an_evaluation() {
    for (options, expected) in [
        (
            json!({"early_stopping_patience": 2}),
            "eval_strategy: expected steps or epoch, for early",
        ),
        (json!({"early_stopping_patience": 0}), "early_stopping_patience: expected at least 1"),
        (json!({"early_stopping_threshold": 0.1}), "early_stopping_patience: expected a number"),
        (
            json!({"lr_scheduler_type": "reduce_lr_on_plateau"}),
            "eval_strategy: expected steps or epoch, for reduce_lr_on_plateau",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut run = trainer(folder.path(), json!({"max_steps": 1}));
        run.arguments = rankforge::training::TrainingArguments {
            output_dir: folder.path().to_owned(),
            ..serde_json::from_value(options).unwrap()
        };
        let found = run.train().map(drop).unwrap_err().to_string();
        assert!(found.starts_with(expected), "{found}");
    }
    // Without a metric, the loss decides.
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 3, "eval_strategy": "steps", "eval_steps": 1, "early_stopping_patience": 1,
        "learning_rate": 0,
    });
    let mut run = trainer(folder.path(), json!({"max_steps": 1}));
    run.arguments = arguments(folder.path(), options);
    run.eval_sets = vec![eval_set(&run, labeled_pairs(4))];
    assert_eq!(run.train().unwrap().global_step, 2);
}
