//! A user-defined loss, evaluator and row source in a run with checkpoints.

use crate::support::{message, strings, table, text};
use crate::testing::{
    arguments, bits, eval_set, labeled_pairs, logged_values, timeless, tiny_bert,
};
use rankforge::data::{DataError, RowSource, Rows, Value};
use rankforge::encoder::{
    CrossEncoder, Input, ModelKind, Outputs, PredictOptions, Score, TextModel,
};
use rankforge::evaluation::{EvaluationContext, Evaluator};
use rankforge::losses::{
    Draw, Examples, Loss, LossBatch, LossOutput, Plan, Targets, expect_one_score,
};
use rankforge::training::{ResumeFrom, Trainer};
use rankforge::{Error, Metrics};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;

/// `mean of max(0, margin - y f) + weight f^2`, where `f` is the score and `y` is 1 for the label 1
/// and -1 for the label 0.
struct HingeLoss {
    margin: f64,
    weight: f64,
}

impl Loss for HingeLoss {
    fn name(&self) -> &'static str {
        "HingeLoss"
    }

    fn config(&self) -> serde_json::Value {
        json!({"margin": self.margin, "weight": self.weight})
    }

    fn citation(&self) -> &'static str {
        "@misc{hinge}"
    }

    fn mini_batch_size(&self) -> Option<usize> {
        Some(3)
    }

    fn check(&self) -> Result<(), Error> {
        if self.margin > 0.0 {
            return Ok(());
        }
        Err(Error::argument("HingeLoss.margin", "a number above 0", self.margin))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        expect_one_score(self.name(), kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let texts = examples.texts(self.name())?;
        let [first, second] = texts.as_slice() else { panic!("two columns") };
        let labels = examples.scalar_labels(self.name())?;
        if let Some(row) = second.iter().position(|text| text.text.is_empty()) {
            let column = &examples.columns[1].name;
            let expected = "a text with words";
            return Err(Error::cell(self.name(), row, column, expected, "an empty one"));
        }
        let inputs = first.iter().zip(second).map(|(a, b)| Input::pair(*a, *b)).collect();
        // A matrix with the sign and the margin of each row.
        let values = labels.iter().flat_map(|label| [2.0 * label - 1.0, self.margin as f32]);
        let rows = examples.rows();
        let targets = Outputs { rows, columns: 2, values: values.collect() };
        Ok(Plan { inputs, rows, targets: Targets::Matrix(targets) })
    }

    fn component_names(&self) -> Vec<&'static str> {
        vec!["hinge_loss", "size_loss"]
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let Targets::Matrix(targets) = batch.targets else { panic!("a matrix of targets") };
        let rows = batch.rows as f64;
        let (mut hinge, mut size) = (0.0, 0.0);
        let mut values = Vec::new();
        for (score, target) in batch.outputs.values.iter().zip(targets.values.chunks_exact(2)) {
            let (score, sign) = (f64::from(*score), f64::from(target[0]));
            let violation = (f64::from(target[1]) - sign * score).max(0.0);
            hinge += violation / rows;
            size += self.weight * score * score / rows;
            let slope = if violation > 0.0 { -sign } else { 0.0 };
            values.push(((slope + 2.0 * self.weight * score) / rows) as f32);
        }
        let d_outputs = Outputs { rows: batch.rows, columns: 1, values };
        LossOutput {
            components: vec![("hinge_loss".to_owned(), hinge), ("size_loss".to_owned(), size)],
            ..LossOutput::new(hinge + size, d_outputs)
        }
    }
}

/// The share of pairs that a threshold on the score classifies correctly.
struct AccuracyEvaluator {
    rows: Rows,
    threshold: f32,
}

impl<M: Score> Evaluator<M> for AccuracyEvaluator {
    fn class_name(&self) -> &'static str {
        "AccuracyEvaluator"
    }

    fn name(&self) -> &str {
        "dev"
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        "dev_accuracy".to_owned()
    }

    fn metric_names(&self, _: &M) -> Vec<String> {
        vec!["dev_accuracy".to_owned()]
    }

    fn config(&self) -> serde_json::Value {
        json!({"threshold": self.threshold})
    }

    fn evaluate(&self, model: &M, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let (queries, answers) = (self.rows.texts("query")?, self.rows.texts("answer")?);
        let pairs: Vec<(&str, &str)> = queries.into_iter().zip(answers).collect();
        let options =
            PredictOptions { reporter: context.reporter.clone(), ..PredictOptions::default() };
        let scores = model.score(&pairs, &options)?;
        let labels = self.rows.numbers("label")?;
        let predictions = scores.iter().zip(&labels);
        let right =
            predictions.filter(|(score, label)| (**score > self.threshold) == (**label > 0.5));
        let mut metrics = Metrics::new();
        metrics.insert("accuracy", right.count() as f64 / labels.len() as f64);
        Ok(metrics.with_prefix("dev"))
    }
}

/// Rows that are generated when they are read. The row `broken` gives an error.
struct MadeRows {
    count: usize,
    broken: Option<usize>,
}

impl RowSource for MadeRows {
    fn len(&self) -> usize {
        self.count
    }

    fn column_names(&self) -> Vec<String> {
        strings(&["query", "answer", "label"])
    }

    fn read(&self, rows: &[usize]) -> Result<Rows, DataError> {
        if let Some(row) = self.broken.filter(|row| rows.contains(row)) {
            let message = "unexpected end of line".to_owned();
            let (path, line) = ("rows.jsonl".into(), row as u64 + 1);
            return Err(DataError::Line { path, line, message });
        }
        Ok(labeled_pairs(self.count).select(rows))
    }
}

/// A source of 22 generated rows.
fn made(broken: Option<usize>) -> Arc<MadeRows> {
    Arc::new(MadeRows { count: 22, broken })
}

fn trainer(folder: &Path, options: serde_json::Value) -> Trainer<CrossEncoder> {
    let mut all = json!({
        "max_steps": 6, "logging_strategy": "steps", "logging_steps": 4,
        "eval_strategy": "steps", "eval_steps": 2, "save_strategy": "steps", "save_steps": 1,
        "metric_for_best_model": "dev_accuracy",
    });
    all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
    let loss = HingeLoss { margin: 1.0, weight: 0.01 };
    let arguments = arguments(folder, all);
    let mut trainer = Trainer::new(tiny_bert(0.1, 1), arguments, labeled_pairs(22), loss);
    trainer.eval_sets.push(eval_set(&trainer, labeled_pairs(9)));
    let evaluator = AccuracyEvaluator { rows: labeled_pairs(30), threshold: 0.5 };
    trainer.evaluators.push(Box::new(evaluator));
    trainer
}

#[test]
fn the_component_of_a_loss_can_decide_which_checkpoint_is_best() {
    let folder = tempfile::tempdir().unwrap();
    let mut trainer = trainer(folder.path(), json!({"metric_for_best_model": "hinge_loss"}));
    let state = trainer.train().unwrap().state;
    let hinges = logged_values(&state, "eval_hinge_loss").into_iter().map(|(_, hinge)| hinge);
    assert_eq!(state.best_metric, hinges.reduce(f64::min));
}

#[test]
fn custom_parts_train_measure_and_appear_in_log_and_card() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 120, "learning_rate": 3e-3, "logging_steps": 20, "eval_steps": 120,
        "save_strategy": "no",
    });
    let mut trainer = trainer(folder.path(), options);
    let output = trainer.train().unwrap();
    let losses = logged_values(&output.state, "loss");
    assert!(losses.last().unwrap().1 < 0.4 * losses[0].1, "{losses:?}");
    for key in ["hinge_loss", "size_loss", "eval_hinge_loss", "eval_size_loss"] {
        assert!(!logged_values(&output.state, key).is_empty(), "{key}");
    }
    let hinges = logged_values(&output.state, "hinge_loss");
    let sizes = logged_values(&output.state, "size_loss");
    for (((_, hinge), (_, size)), (_, loss)) in hinges.iter().zip(&sizes).zip(&losses) {
        let difference = (hinge + size - loss).abs();
        assert!(difference < 1e-9, "{hinge} and {size} do not add up to {loss}");
    }
    let accuracy = logged_values(&output.state, "eval_dev_accuracy").last().unwrap().1;
    assert!(accuracy > 0.9, "{accuracy}");
    let card = trainer.model_card().unwrap();
    for fragment in [
        "- loss:HingeLoss\n",
        "* Loss: <code>HingeLoss</code> with these parameters:\n```json\n{\n  \"margin\": 1.0,",
        "#### HingeLoss\n\n```bibtex\n@misc{hinge}\n```",
        "#### Accuracy\n\n* Dataset: `dev`\n* Evaluated with <code>AccuracyEvaluator</code>",
        "| **accuracy** | **",
        "dev_accuracy |",
    ] {
        assert!(card.contains(fragment), "{fragment:?} is not in:\n{card}");
    }
}

#[test]
fn a_run_with_custom_parts_resumes_at_every_step_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let mut whole = trainer(folder.path(), json!({}));
    let expected = whole.train().unwrap();
    for step in 1..6 {
        let other = tempfile::tempdir().unwrap();
        let mut resumed = trainer(other.path(), json!({}));
        let checkpoint = folder.path().join(format!("checkpoint-{step}"));
        resumed.arguments.resume_from_checkpoint = Some(ResumeFrom::Path(checkpoint));
        let found = resumed.train().unwrap();
        assert!(bits(resumed.model.model()) == bits(whole.model.model()), "from step {step}");
        // This includes the components of the loss in a logging window that spans the checkpoint.
        assert_eq!(timeless(&found.state), timeless(&expected.state), "from step {step}");
        assert_eq!(found.state.best_metric, expected.state.best_metric, "from step {step}");
    }
}

#[test]
fn errors_of_custom_losses_are_reported_with_set_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = trainer(folder.path(), json!({}));
    wrong.train_sets[0].loss = Arc::new(HingeLoss { margin: -1.0, weight: 0.0 });
    assert_eq!(message(wrong.train()), "HingeLoss.margin: expected a number above 0, got -1");

    // Row 18 of 22 is invalid. The loss reports its index in the batch, the trainer that in the
    // set.
    let answers = (1..=22).map(|row| text(if row == 18 { "" } else { "bird" })).collect();
    let rows = table(vec![
        ("query", vec![text("a bird"); 22]),
        ("answer", answers),
        ("label", vec![Value::Integer(1); 22]),
    ]);
    let mut empty = trainer(folder.path(), json!({}));
    empty.train_sets[0].rows = Arc::new(rows);
    let expected = "training data for HingeLoss, row 18, column `answer`: expected a text with \
                    words, got an empty one";
    assert_eq!(message(empty.check_rows()), expected);
    assert_eq!(message(empty.train()), expected, "the run reports another row");
}

#[test]
fn rows_from_a_custom_source_train_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let quiet = json!({"save_strategy": "no", "batch_sampler": "no_duplicates"});
    let mut in_memory = trainer(folder.path(), quiet.clone());
    in_memory.train().unwrap();
    let mut read = trainer(folder.path(), quiet);
    read.train_sets[0].rows = made(None);
    read.train().unwrap();
    assert!(bits(read.model.model()) == bits(in_memory.model.model()));
    assert_eq!(read.model_card().unwrap().matches("* Size: 22 training samples").count(), 1);
}

#[test]
fn a_row_that_cannot_be_read_ends_the_run_with_its_location() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = trainer(folder.path(), json!({}));
    broken.train_sets[0].rows = made(Some(6));
    let expected = "rows.jsonl, line 7: unexpected end of line";
    assert_eq!(message(broken.check_rows()), expected);
    assert_eq!(message(broken.train()), expected);
}
