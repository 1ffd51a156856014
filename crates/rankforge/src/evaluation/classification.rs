use crate::error::Error;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::record;
use crate::evaluation::thresholds::Sorted;
use crate::metrics::Metrics;
use rankforge_data::Rows;
use rankforge_encoder::{CrossEncoder, Outputs, PredictOptions};
use serde_json::json;

/// How well the scores of a cross-encoder tell the classes of pairs.
///
/// A model with one label: keys `accuracy` and `f1` at the thresholds that make them largest,
/// `accuracy_threshold` and `f1_threshold`, `precision` and `recall` at that F1, and
/// `average_precision`, which is the primary metric. A threshold lies half-way between two scores.
///
/// A model with several labels: the label with the highest score is the class of a pair. Keys
/// `f1_macro` (the mean over classes, the primary metric), `f1_micro` (over all pairs) and
/// `f1_weighted` (the mean over classes, weighted by their pairs).
#[derive(Clone, Debug)]
pub struct CrossEncoderClassificationEvaluator {
    sentence_pairs: Vec<(String, String)>,
    labels: Vec<usize>,
    name: String,
    /// Maximum number of pairs in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

const NAME: &str = "CrossEncoderClassificationEvaluator";

/// Key, and heading of the column in the CSV file, of a model with one label.
const BINARY: [(&str, &str); 7] = [
    ("accuracy", "Accuracy"),
    ("accuracy_threshold", "Accuracy_Threshold"),
    ("f1", "F1"),
    ("f1_threshold", "F1_Threshold"),
    ("precision", "Precision"),
    ("recall", "Recall"),
    ("average_precision", "Average_Precision"),
];

/// The same of a model with several labels.
const SEVERAL: [(&str, &str); 3] =
    [("f1_macro", "Macro_F1"), ("f1_micro", "Micro_F1"), ("f1_weighted", "Weighted_F1")];

impl CrossEncoderClassificationEvaluator {
    /// An evaluator of pairs and their classes, with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// Another number of labels than of pairs, or none.
    pub fn new(
        sentence_pairs: Vec<(String, String)>,
        labels: Vec<usize>,
        name: impl Into<String>,
    ) -> Result<CrossEncoderClassificationEvaluator, Error> {
        if sentence_pairs.len() != labels.len() {
            let got = format!("{} pairs and {} labels", sentence_pairs.len(), labels.len());
            return Err(Error::rows(NAME, "a label for each pair", got));
        }
        if labels.is_empty() {
            return Err(Error::rows(NAME, "at least one pair", "none"));
        }
        let (name, batch_size, write_csv) = (name.into(), usize::MAX, true);
        Ok(CrossEncoderClassificationEvaluator {
            sentence_pairs,
            labels,
            name,
            batch_size,
            write_csv,
        })
    }

    /// [`CrossEncoderClassificationEvaluator::new`] with the columns of a table: first text, second
    /// text, class.
    ///
    /// # Errors
    /// A missing column, a cell of another type, or a label that is not a whole number from 0.
    pub fn from_rows(
        rows: &Rows,
        columns: [&str; 3],
        name: impl Into<String>,
    ) -> Result<CrossEncoderClassificationEvaluator, Error> {
        let class = |(row, label): (usize, f64)| match label {
            label if label >= 0.0 && label.fract() == 0.0 => Ok(label as usize),
            other => {
                let expected = "a class: a whole number from 0";
                Err(Error::cell(NAME, row, columns[2], expected, other))
            }
        };
        let labels = rows.numbers(columns[2])?.into_iter().enumerate().map(class);
        let labels = labels.collect::<Result<_, _>>()?;
        let (first, second) = (rows.owned_texts(columns[0])?, rows.owned_texts(columns[1])?);
        let pairs = first.into_iter().zip(second).collect();
        CrossEncoderClassificationEvaluator::new(pairs, labels, name)
    }

    /// The metrics of these outputs of a model, without the name of the evaluator in their keys.
    ///
    /// # Shapes
    /// `B` pairs with `L` labels have outputs `B x L`.
    ///
    /// # Errors
    /// A score that is not finite, or a label that the outputs do not have.
    ///
    /// # Panics
    /// When the outputs are those of another number of pairs.
    pub fn measure(&self, outputs: &Outputs) -> Result<Metrics, Error> {
        let pairs = self.labels.len();
        assert_eq!(outputs.rows, pairs, "outputs of {} rows for {pairs} pairs", outputs.rows);
        if let Some(place) = outputs.values.iter().position(|score| !score.is_finite()) {
            let (index, score) = (place / outputs.columns, outputs.values[place]);
            return Err(Error::Score { index, pairs, score });
        }
        let classes = outputs.columns.max(2);
        if let Some(row) = self.labels.iter().position(|label| *label >= classes) {
            let expected = format!("a class from 0 to {}", classes - 1);
            return Err(Error::cell(NAME, row, "", expected, self.labels[row]));
        }
        let (keys, values) = match outputs.columns {
            1 => (&BINARY[..], self.binary(&outputs.values).to_vec()),
            _ => (&SEVERAL[..], self.several(outputs).to_vec()),
        };
        let keys = keys.iter().map(|(key, _)| (*key).to_owned());
        Ok(Metrics(keys.zip(values).collect()))
    }

    /// In the order of [`BINARY`].
    fn binary(&self, scores: &[f32]) -> [f64; BINARY.len()] {
        let labels: Vec<bool> = self.labels.iter().map(|label| *label == 1).collect();
        let sorted = Sorted::new(scores, &labels, true);
        let (accuracy, f1) = (sorted.best_accuracy(), sorted.best_f1());
        [
            accuracy.accuracy,
            f64::from(accuracy.threshold),
            f1.f1,
            f64::from(f1.threshold),
            f1.precision,
            f1.recall,
            sorted.average_precision(),
        ]
    }

    /// In the order of [`SEVERAL`]. Classes that no pair has and that are never chosen do not
    /// count.
    fn several(&self, outputs: &Outputs) -> [f64; SEVERAL.len()] {
        // Of equal scores the first is chosen.
        let largest = |row: &[f32]| {
            let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter().position(|score| *score == best).unwrap_or(0)
        };
        // For each class: pairs that have it, that were given it, and both.
        let mut counts = vec![[0.0f64; 3]; outputs.columns];
        for (row, label) in self.labels.iter().enumerate() {
            let chosen = largest(outputs.row(row));
            counts[*label][0] += 1.0;
            counts[chosen][1] += 1.0;
            counts[*label][2] += f64::from(u8::from(chosen == *label));
        }
        let f1 = |[has, given, both]: [f64; 3]| 2.0 * both / (has + given);
        let seen: Vec<[f64; 3]> =
            counts.into_iter().filter(|[has, given, _]| has + given > 0.0).collect();
        let pairs = self.labels.len() as f64;
        let sum = |value: &dyn Fn([f64; 3]) -> f64| seen.iter().map(|own| value(*own)).sum::<f64>();
        [
            sum(&f1) / seen.len() as f64,
            sum(&|[_, _, both]| both) / pairs,
            sum(&|own| f1(own) * own[0]) / pairs,
        ]
    }

    fn log(&self, metrics: &Metrics, say: &dyn Fn(&str)) {
        let share = |key: &str| format!("{:.2}", metrics.0[key] * 100.0);
        let at = |key: &str| {
            format!("{}\t(Threshold: {:.4})", share(key), {
                metrics.0[&format!("{key}_threshold")]
            })
        };
        let lines = match metrics.get("f1_macro") {
            Some(_) => vec![
                ("Macro F1:", share("f1_macro")),
                ("Micro F1:", share("f1_micro")),
                ("Weighted F1:", share("f1_weighted")),
            ],
            None => vec![
                ("Accuracy:", at("accuracy")),
                ("F1:", at("f1")),
                ("Precision:", share("precision")),
                ("Recall:", share("recall")),
                ("Average Precision:", share("average_precision")),
            ],
        };
        for (what, value) in lines {
            say(&format!("{what:<19}{value}"));
        }
    }
}

/// Keys and headings for a model with this number of labels.
fn columns(num_labels: usize) -> &'static [(&'static str, &'static str)] {
    if num_labels == 1 { &BINARY } else { &SEVERAL }
}

impl Evaluator<CrossEncoder> for CrossEncoderClassificationEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, metrics: &Metrics) -> String {
        let binary = with_name(&self.name, "average_precision");
        match metrics.get(&binary) {
            Some(_) => binary,
            None => with_name(&self.name, "f1_macro"),
        }
    }

    fn metric_names(&self, model: &CrossEncoder) -> Vec<String> {
        let keys = columns(model.num_labels()).iter();
        keys.map(|(key, _)| with_name(&self.name, key)).collect()
    }

    fn config(&self) -> serde_json::Value {
        json!({})
    }

    fn evaluate(
        &self,
        model: &CrossEncoder,
        context: &EvaluationContext<'_>,
    ) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "{NAME}: Evaluating the model on {} dataset{}:",
            self.name,
            record::when(context)
        ));
        let pairs: Vec<(&str, &str)> =
            self.sentence_pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let options = PredictOptions {
            batch_size: self.batch_size,
            reporter: reporter.clone(),
            ..PredictOptions::default()
        };
        let outputs = model.predict_with(&pairs, &options)?;
        let metrics = self.measure(&outputs)?;
        if let (Some(collector), 1) = (context.details, outputs.columns) {
            let labels = self.labels.iter().map(|label| *label == 1);
            let scores = outputs.values.iter().map(|score| f64::from(*score));
            collector.add_scores(&self.name, scores.zip(labels));
        }
        self.log(&metrics, &|line| reporter.message(line));
        if self.write_csv {
            let columns = columns(model.num_labels());
            let headers: Vec<String> =
                columns.iter().map(|(_, header)| (*header).to_owned()).collect();
            let row: Vec<f64> = columns.iter().map(|(key, _)| metrics.0[*key]).collect();
            let file = record::csv_file(NAME, &[&self.name]);
            record::append_row(context, &file, &headers, &row)?;
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
