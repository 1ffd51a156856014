//! A loss, an evaluator and a source of rows of a user's own, in a run with checkpoints.

use crate::support::{message, strings, table, text};
use crate::testing::{arguments, bits, eval_set, figures, labelled_pairs, timeless, tiny_bert};
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

/// `mean of max(0, margin - y f) + weight f^2`, `y` being 1 for the label 1 and -1 for 0.
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
        let signs = labels.iter().map(|label| 2.0 * label - 1.0).collect();
        Ok(Plan { inputs, rows: examples.rows(), targets: Targets::Scalars(signs) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let Targets::Scalars(signs) = batch.targets else { panic!("a sign for each row") };
        let rows = batch.rows as f64;
        let (mut hinge, mut size) = (0.0, 0.0);
        let mut values = Vec::new();
        for (score, sign) in batch.outputs.values.iter().zip(signs) {
            let (score, sign) = (f64::from(*score), f64::from(*sign));
            let short = (self.margin - sign * score).max(0.0);
            hinge += short / rows;
            size += self.weight * score * score / rows;
            let slope = if short > 0.0 { -sign } else { 0.0 };
            values.push(((slope + 2.0 * self.weight * score) / rows) as f32);
        }
        LossOutput {
            value: hinge + size,
            d_outputs: Outputs { rows: batch.rows, columns: 1, values },
            components: vec![("hinge_loss".to_owned(), hinge), ("size_loss".to_owned(), size)],
        }
    }
}

/// The share of pairs whose score is on the right side of a threshold.
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

    fn primary_metric(&self) -> String {
        "dev_accuracy".to_owned()
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
        let right = scores.iter().zip(&labels);
        let right = right.filter(|(score, label)| (**score > self.threshold) == (**label > 0.5));
        let mut metrics = Metrics::new();
        metrics.insert("accuracy", right.count() as f64 / labels.len() as f64);
        Ok(metrics.with_prefix("dev"))
    }
}

/// Rows that are made when they are read; `broken` cannot be.
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
            let message = "the line is cut short".to_owned();
            let (path, line) = ("rows.jsonl".into(), row as u64 + 1);
            return Err(DataError::Line { path, line, message });
        }
        Ok(labelled_pairs(self.count).select(rows))
    }
}

/// A source of 22 rows.
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
    let mut trainer = Trainer::new(tiny_bert(0.1, 1), arguments, labelled_pairs(22), loss);
    trainer.eval_sets.push(eval_set(&trainer, labelled_pairs(9)));
    let evaluator = AccuracyEvaluator { rows: labelled_pairs(30), threshold: 0.5 };
    trainer.evaluators.push(Box::new(evaluator));
    trainer
}

#[test]
fn they_train_measure_and_appear_in_log_and_card() {
    let folder = tempfile::tempdir().unwrap();
    let options = json!({
        "max_steps": 120, "learning_rate": 3e-3, "logging_steps": 20, "eval_steps": 120,
        "save_strategy": "no",
    });
    let mut trainer = trainer(folder.path(), options);
    let output = trainer.train().unwrap();
    let losses = figures(&output.state, "loss");
    assert!(losses.last().unwrap().1 < 0.4 * losses[0].1, "{losses:?}");
    for key in ["hinge_loss", "size_loss", "eval_hinge_loss", "eval_size_loss"] {
        assert!(!figures(&output.state, key).is_empty(), "{key}");
    }
    let parts = figures(&output.state, "hinge_loss").into_iter();
    let parts = parts.zip(figures(&output.state, "size_loss"));
    for ((hinge, size), loss) in parts.map(|(a, b)| (a.1, b.1)).zip(&losses) {
        assert!((hinge + size - loss.1).abs() < 1e-9, "{hinge} and {size} are not {}", loss.1);
    }
    let accuracy = figures(&output.state, "eval_dev_accuracy").last().unwrap().1;
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
fn a_run_with_them_resumes_at_every_step_to_the_same_bits() {
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
        // The parts of the loss in a window that the checkpoint cut among them.
        assert_eq!(timeless(&found.state), timeless(&expected.state), "from step {step}");
        assert_eq!(found.state.best_metric, expected.state.best_metric, "from step {step}");
    }
}

#[test]
fn what_they_refuse_is_said_as_of_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = trainer(folder.path(), json!({}));
    wrong.train_sets[0].loss = Arc::new(HingeLoss { margin: -1.0, weight: 0.0 });
    assert_eq!(message(wrong.train()), "HingeLoss.margin: expected a number above 0, got -1");

    // Row 18 of 22: the loss sees it as one of the rows of a batch.
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
    assert_eq!(message(empty.train()), expected, "in whatever batch it comes");
}

#[test]
fn rows_that_are_read_when_they_are_needed_train_to_the_same_bits() {
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
fn a_row_that_cannot_be_read_ends_the_run_and_says_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let mut broken = trainer(folder.path(), json!({}));
    broken.train_sets[0].rows = made(Some(6));
    let expected = "rows.jsonl, line 7: the line is cut short";
    assert_eq!(message(broken.check_rows()), expected);
    assert_eq!(message(broken.train()), expected);
}
