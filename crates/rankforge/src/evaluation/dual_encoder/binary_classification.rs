use crate::error::Error;
use crate::evaluation::dual_encoder::embeddings::{
    Distinct, Encoding, functions, key_names, primary_key, similarities,
};
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::record;
use crate::evaluation::thresholds::Sorted;
use crate::metrics::Metrics;
use rankforge_data::Rows;
use rankforge_encoder::{Embed, Side};
use rankforge_kernels::ops::Similarity;
use serde_json::json;

/// How well the similarity of two texts tells similar pairs from others.
///
/// Keys for each similarity function `f`: `f_accuracy` and `f_f1` at the thresholds that make them
/// largest, `f_accuracy_threshold` and `f_f1_threshold`, `f_precision` and `f_recall` at that F1,
/// `f_ap` (average precision) and `f_mcc` (Matthews' correlation at the threshold of F1). Several
/// functions have their `max_accuracy` and so on. The primary metric is `f_ap`, or `max_ap`.
///
/// For `euclidean` and `manhattan`, thresholds are distances.
#[derive(Clone, Debug)]
pub struct BinaryClassificationEvaluator {
    sentences1: Vec<String>,
    sentences2: Vec<String>,
    labels: Vec<bool>,
    name: String,
    /// Similarity functions; that of the model when there is none.
    pub similarity_fn_names: Vec<Similarity>,
    /// Number of leading dimensions of the embeddings; `None`: those of the model.
    pub truncate_dim: Option<usize>,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

const NAME: &str = "BinaryClassificationEvaluator";

/// The metrics of a similarity function, in the order of the keys.
const METRICS: [&str; 8] =
    ["accuracy", "accuracy_threshold", "f1", "f1_threshold", "precision", "recall", "ap", "mcc"];

/// Their order in the CSV file.
const COLUMNS: [&str; 8] =
    ["accuracy", "accuracy_threshold", "f1", "precision", "recall", "f1_threshold", "ap", "mcc"];

impl BinaryClassificationEvaluator {
    /// An evaluator of pairs, which are similar where `labels` say so, with `name` before the keys
    /// of its metrics.
    ///
    /// # Errors
    /// Other numbers of texts or labels, or none.
    pub fn new(
        sentences1: Vec<String>,
        sentences2: Vec<String>,
        labels: Vec<bool>,
        name: impl Into<String>,
    ) -> Result<BinaryClassificationEvaluator, Error> {
        let counts = [sentences1.len(), sentences2.len(), labels.len()];
        if counts != [counts[0]; 3] {
            let got = format!("{}, {} and {}", counts[0], counts[1], counts[2]);
            return Err(Error::rows(NAME, "as many texts on both sides as labels", got));
        }
        if labels.is_empty() {
            return Err(Error::rows(NAME, "at least one pair", "none"));
        }
        Ok(BinaryClassificationEvaluator {
            sentences1,
            sentences2,
            labels,
            name: name.into(),
            similarity_fn_names: Vec::new(),
            truncate_dim: None,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// [`BinaryClassificationEvaluator::new`] with the columns of a table: two texts, and 1 or 0.
    ///
    /// # Errors
    /// A missing column, a cell of another type, a label that is neither 0 nor 1, or no row.
    pub fn from_rows(
        rows: &Rows,
        columns: [&str; 3],
        name: impl Into<String>,
    ) -> Result<BinaryClassificationEvaluator, Error> {
        let label = |(row, label): (usize, f64)| match label {
            0.0 => Ok(false),
            1.0 => Ok(true),
            other => Err(Error::cell(NAME, row, columns[2], "0 or 1", other)),
        };
        let labels = rows.numbers(columns[2])?.into_iter().enumerate().map(label);
        let labels = labels.collect::<Result<_, _>>()?;
        let texts = (rows.owned_texts(columns[0])?, rows.owned_texts(columns[1])?);
        BinaryClassificationEvaluator::new(texts.0, texts.1, labels, name)
    }

    /// The metrics of one similarity function, in the order of [`METRICS`].
    fn measure(&self, function: Similarity, scores: Vec<f32>) -> [f64; METRICS.len()] {
        let distance = matches!(function, Similarity::Euclidean | Similarity::Manhattan);
        let scores = match distance {
            true => scores.into_iter().map(|score| -score).collect(),
            false => scores,
        };
        let sorted = Sorted::new(&scores, &self.labels, !distance);
        let (accuracy, f1) = (sorted.best_accuracy(), sorted.best_f1());
        [
            accuracy.accuracy,
            f64::from(accuracy.threshold),
            f1.f1,
            f64::from(f1.threshold),
            f1.precision,
            f1.recall,
            sorted.average_precision(),
            sorted.matthews(f1.threshold),
        ]
    }

    fn log(&self, function: Similarity, values: [f64; METRICS.len()], say: &dyn Fn(String)) {
        let name = match function {
            Similarity::Cosine => "Cosine-Similarity",
            Similarity::Dot => "Dot-Product",
            Similarity::Euclidean => "Euclidean-Distance",
            Similarity::Manhattan => "Manhattan-Distance",
        };
        let [accuracy, accuracy_at, f1, f1_at, precision, recall, ap, mcc] = values;
        let share = |value: f64| format!("{:.2}", value * 100.0);
        let at = |threshold: f64| format!("(Threshold: {threshold:.4})");
        let lines = [
            ("Accuracy", format!("{}\t{}", share(accuracy), at(accuracy_at))),
            ("F1", format!("{}\t{}", share(f1), at(f1_at))),
            ("Precision", share(precision)),
            ("Recall", share(recall)),
            ("Average Precision", share(ap)),
            ("Matthews Correlation", share(mcc)),
        ];
        for (what, value) in lines {
            say(format!("{:<44} {value}", format!("{what} with {name}:")));
        }
    }
}

impl Truncate for BinaryClassificationEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for BinaryClassificationEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, metrics: &Metrics) -> String {
        let key = |name: &str| with_name(&self.name, &format!("{name}_ap"));
        primary_key(None, metrics, key)
    }

    fn metric_names(&self, model: &E) -> Vec<String> {
        let names = key_names(&functions(&self.similarity_fn_names, None, model));
        let key = |name: &str, metric: &str| with_name(&self.name, &format!("{name}_{metric}"));
        names.iter().flat_map(|name| METRICS.map(|metric| key(name, metric))).collect()
    }

    fn config(&self) -> serde_json::Value {
        record::config([("truncate_dim", self.truncate_dim.map(|dimension| json!(dimension)))])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "Binary Accuracy Evaluation of the model on the {} dataset{}:",
            self.name,
            record::when_truncated(context, self.truncate_dim)
        ));
        let mut distinct = Distinct::default();
        let first = distinct.places(self.sentences1.iter().map(String::as_str));
        let second = distinct.places(self.sentences2.iter().map(String::as_str));
        let (batch_size, truncate_dim) = (self.batch_size, self.truncate_dim);
        let encoding = Encoding { batch_size, truncate_dim, normalize: false, reporter };
        let embeddings = encoding.on_device(model, Side::Text, &distinct.list())?;
        let functions = functions(&self.similarity_fn_names, None, model);
        let mut all = Vec::new();
        let mut metrics = Metrics::new();
        for function in &functions {
            let scores = similarities(*function, &embeddings, &embeddings, (&first, &second));
            if let (Some(collector), true) = (context.details, all.is_empty()) {
                let scores = scores.iter().map(|score| f64::from(*score));
                collector.add_scores(&self.name, scores.zip(self.labels.iter().copied()));
            }
            let values = self.measure(*function, scores);
            self.log(*function, values, &|line| reporter.message(&line));
            for (metric, value) in METRICS.iter().zip(values) {
                metrics.insert(format!("{}_{metric}", function.name()), value);
            }
            all.push(values);
        }
        if self.write_csv {
            let names = functions
                .iter()
                .flat_map(|function| COLUMNS.map(|column| format!("{}_{column}", function.name())));
            let headers: Vec<String> = names.collect();
            let row: Vec<f64> = headers.iter().map(|header| metrics.0[header]).collect();
            let file = record::csv_file("binary_classification_evaluation", &[&self.name]);
            record::append_row(context, &file, &headers, &row)?;
        }
        if functions.len() > 1 {
            for (place, metric) in METRICS.iter().enumerate() {
                let values = all.iter().map(|values| values[place]);
                metrics.insert(format!("max_{metric}"), values.fold(f64::NEG_INFINITY, f64::max));
            }
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
