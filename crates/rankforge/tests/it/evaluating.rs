//! Evaluation during a run, and the checkpoints that depend on it.

use crate::batches::{WHOLE, prepared};
use crate::support::{Recorder, message};
use crate::testing::{
    bits, eval_set, labeled_pairs, logged_values, loss, names, tiny_bert, trainer,
};
use rankforge::encoder::{CrossEncoder, TextModel};
use rankforge::evaluation::{EvaluationContext, Evaluator};
use rankforge::training::{GradientCache, TrainerState};
use rankforge::{Error, Metrics};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An evaluator that returns prescribed values, one for each evaluation.
struct Prescribed {
    values: Vec<f64>,
    calls: AtomicUsize,
}

impl<M> Evaluator<M> for Prescribed {
    fn class_name(&self) -> &'static str {
        "PrescribedEvaluator"
    }

    fn name(&self) -> &str {
        "dev"
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        "dev_score".to_owned()
    }

    fn metric_names(&self, _: &M) -> Vec<String> {
        vec!["dev_score".to_owned(), "dev_step".to_owned()]
    }

    fn config(&self) -> Value {
        json!({"at_k": 10})
    }

    fn evaluate(&self, _model: &M, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        assert!(context.output_path.is_some_and(|path| path.ends_with("eval") && path.is_dir()));
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut metrics = Metrics::new();
        metrics.insert("dev_score", self.values[call % self.values.len()]);
        metrics.insert("dev_step", context.steps as f64);
        Ok(metrics)
    }
}

fn prescribed(values: &[f64]) -> Box<dyn Evaluator<CrossEncoder>> {
    Box::new(Prescribed { values: values.to_vec(), calls: AtomicUsize::new(0) })
}

fn evaluated(options: Value) -> TrainerState {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), options);
    trainer.evaluators.push(prescribed(&[0.5]));
    trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(11)));
    trainer.train().unwrap().state
}

#[test]
fn evaluation_follows_its_strategy() {
    let steps = |options| -> Vec<u64> {
        let state = evaluated(options);
        let found = logged_values(&state, "eval_dev_score");
        assert_eq!(found.len(), logged_values(&state, "eval_loss").len());
        found.into_iter().map(|(step, _)| step).collect()
    };
    assert_eq!(steps(json!({"max_steps": 10})), [0_u64; 0]);
    let every_4 = json!({"max_steps": 10, "eval_strategy": "steps", "eval_steps": 4});
    assert_eq!(steps(every_4), [4, 8, 10], "the last step is evaluated too");
    let share = json!({"max_steps": 10, "eval_strategy": "steps", "eval_steps": 0.5});
    assert_eq!(steps(share), [5, 10]);
    let with_logging = json!({"max_steps": 6, "eval_strategy": "steps", "logging_steps": 3});
    assert_eq!(steps(with_logging), [3, 6]);
    let delayed = json!({
        "max_steps": 8, "eval_strategy": "steps", "eval_steps": 2, "eval_delay": 5,
        "eval_on_start": true,
    });
    assert_eq!(steps(delayed), [0, 6, 8]);
    let by_epoch = json!({"num_train_epochs": 3, "max_steps": -1, "eval_strategy": "epoch"});
    assert_eq!(steps(by_epoch), [8, 16, 24]);
}

#[test]
fn an_evaluation_logs_the_loss_of_all_rows_and_its_speed() {
    let state = evaluated(json!({
        "max_steps": 2, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 0,
        "per_device_eval_batch_size": 4,
    }));
    let record = state.log_history.iter().find(|record| record.contains_key("eval_loss")).unwrap();
    for key in ["eval_runtime", "eval_samples_per_second", "eval_steps_per_second"] {
        assert!(record[key].as_f64().is_some_and(|value| value > 0.0), "{key}");
    }
    assert_eq!(record["eval_dev_step"], json!(2.0));
    // With a learning rate of 0 the model does not change, and the loss is that of all rows at
    // once.
    let model = tiny_bert(0.1, 1);
    let loss = loss("BinaryCrossEntropyLoss", json!({}));
    let batch = prepared(&model, &loss, &labeled_pairs(11), &[]);
    let whole = GradientCache::new(model.model()).loss(model.model(), &*loss, &batch, WHOLE);
    let found = record["eval_loss"].as_f64().unwrap();
    assert!((found - whole.value).abs() < 1e-6, "{found} {}", whole.value);
}

#[test]
fn an_evaluation_set_without_a_full_batch_is_refused_where_its_loss_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let run = |strategy: &str| {
        let options = json!({
            "max_steps": 1, "eval_strategy": strategy, "dataloader_drop_last": true,
            "per_device_eval_batch_size": 12,
        });
        let mut trainer = trainer(folder.path(), options);
        trainer.eval_sets = vec![eval_set(&trainer, labeled_pairs(11))];
        trainer.train().map(|output| output.global_step)
    };
    assert_eq!(run("no").unwrap(), 1);
    let message = run("epoch").unwrap_err().to_string();
    let expected = "evaluation data: no full batch: 11 rows, batch size 12, \
                    dataloader_drop_last = true";
    assert_eq!(message, expected);
}

#[test]
fn evaluation_without_a_set_or_an_evaluator_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"eval_strategy": "epoch"}));
    let message = trainer.train().unwrap_err().to_string();
    let expected = "eval_strategy: expected no, as there is neither an evaluation data set nor an \
                    evaluator, got epoch";
    assert_eq!(message, expected);
}

#[test]
fn old_checkpoints_are_deleted_except_the_best_and_the_newest() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 10, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps",
        "save_steps": 2, "save_total_limit": 2, "load_best_model_at_end": true,
        "metric_for_best_model": "dev_score",
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.evaluators.push(prescribed(&[0.1, 0.9, 0.3, 0.9, 0.2]));
    let state = trainer.train().unwrap().state;
    let kept = names(folder.path());
    assert_eq!(
        kept,
        [
            "checkpoint-10",
            "checkpoint-4",
            "eval",
            "log.jsonl",
            "report.html",
            "report.json",
            "run.json",
            "trainer_state.json",
            "training.svg"
        ]
    );
    assert_eq!(state.best_global_step, Some(4), "an equal metric is not better");
    assert_eq!(state.best_metric, Some(0.9));
    // The trainer has the parameters of the best step, not of the last.
    let mut best = tiny_bert(0.1, 99);
    best.load_parameters(&folder.path().join("checkpoint-4")).unwrap();
    assert_eq!(bits(trainer.model.model()), bits(best.model()));
    best.load_parameters(&folder.path().join("checkpoint-10")).unwrap();
    assert_ne!(bits(trainer.model.model()), bits(best.model()));
}

#[test]
fn save_strategy_best_writes_a_checkpoint_for_each_new_best_metric() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 8, "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "best",
        "metric_for_best_model": "dev_score", "greater_is_better": false,
    });
    let mut trainer = trainer(folder.path(), options);
    trainer.evaluators.push(prescribed(&[0.5, 0.7, 0.3, 0.4]));
    trainer.train().unwrap();
    let kept = names(folder.path());
    assert_eq!(kept[..2], ["checkpoint-2", "checkpoint-6"]);
    assert_eq!(kept[2], "eval");
}

#[test]
fn a_misspelt_best_metric_is_refused_before_the_first_step() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |metric: Option<&str>, expected: &str| {
        let options = json!({"eval_strategy": "epoch", "save_strategy": "best"});
        let mut trainer = trainer(folder.path(), options);
        trainer.evaluators.push(prescribed(&[0.5]));
        trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(8)));
        trainer.eval_sets[0].name = "nq".to_owned();
        trainer.arguments.metric_for_best_model = metric.map(str::to_owned);
        let message = message(trainer.train());
        assert!(!folder.path().join("eval").exists(), "there was an evaluation");
        assert!(message.starts_with("metric_for_best_model: expected one of "), "{message}");
        assert!(message.contains("eval_nq_loss, eval_dev_score"), "{message}");
        assert!(message.ends_with(expected), "{message}");
    };
    refused(Some("dev_scores"), "got dev_scores; did you mean dev_score?");
    refused(Some("eval_dev_scores"), "got eval_dev_scores; did you mean eval_dev_score?");
    refused(Some("ndcg@10"), "got ndcg@10");
    // Only named sets have a loss here.
    refused(None, "got eval_loss, the default");
}

#[test]
fn what_has_no_effect_without_evaluation_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |options: Value, expected: &str| {
        let mut trainer = trainer(folder.path(), options);
        trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(8)));
        let recorder = Arc::new(Recorder::default());
        trainer.reporter = recorder.clone();
        trainer.train().unwrap();
        assert!(recorder.warned(expected), "{:?}", recorder.warnings());
    };
    told(
        json!({"max_steps": 1, "metric_for_best_model": "loss"}),
        "the evaluation data and metric_for_best_model will not be used, as eval_strategy is no",
    );
    told(
        json!({"max_steps": 1, "eval_strategy": "steps", "eval_steps": 1, "eval_delay": 2}),
        "eval_delay = 2 is beyond the end of the run, 1",
    );
}

#[test]
fn evaluators_list_every_metric_that_they_return() {
    use rankforge::evaluation::{
        Candidates, CrossEncoderCorrelationEvaluator, CrossEncoderRerankingEvaluator,
        RerankingSample, SequentialEvaluator,
    };
    let text = |text: &str| text.to_owned();
    let sample =
        |candidates| RerankingSample { query: text("a"), positive: vec![text("b")], candidates };
    let negative = sample(Candidates::Negative(vec![text("c")]));
    let documents = sample(Candidates::Documents(vec![text("b"), text("c")]));
    let pairs = vec![(text("a"), text("b")), (text("a"), text("c"))];
    let reranking = |sample, name| CrossEncoderRerankingEvaluator::new(vec![sample], name).unwrap();
    let correlation = CrossEncoderCorrelationEvaluator::new(pairs, vec![0.0, 1.0], "sts").unwrap();
    let evaluators: Vec<Box<dyn Evaluator<CrossEncoder>>> = vec![
        Box::new(reranking(negative, "")),
        Box::new(reranking(documents, "nq")),
        Box::new(correlation),
    ];
    let all = SequentialEvaluator::new(evaluators).unwrap();
    let model = tiny_bert(0.0, 1);
    let check = |evaluator: &dyn Evaluator<CrossEncoder>| {
        let metrics = evaluator.evaluate(&model, &EvaluationContext::default()).unwrap();
        let mut found: Vec<String> = metrics.0.keys().cloned().collect();
        let mut listed = evaluator.metric_names(&model);
        found.sort();
        listed.sort();
        assert_eq!(listed, found);
    };
    all.evaluators().iter().for_each(|evaluator| check(&**evaluator));
    check(&all);
}
