use crate::error::Error;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::{record, statistics};
use crate::finite_scores::finite_scores;
use crate::metrics::Metrics;
use rankforge_data::Rows;
use rankforge_encoder::Score;
use serde_json::json;

/// Pearson's and Spearman's correlation between the scores of a model and gold scores.
///
/// Keys `pearson` and `spearman`; the latter is the primary one.
#[derive(Clone, Debug)]
pub struct CrossEncoderCorrelationEvaluator {
    sentence_pairs: Vec<(String, String)>,
    scores: Vec<f64>,
    name: String,
    /// Maximum number of pairs in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

impl CrossEncoderCorrelationEvaluator {
    /// An evaluator of pairs and their gold scores, with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// Another number of scores than of pairs, fewer than two pairs, or a score that is not finite.
    pub fn new(
        sentence_pairs: Vec<(String, String)>,
        scores: Vec<f64>,
        name: impl Into<String>,
    ) -> Result<CrossEncoderCorrelationEvaluator, Error> {
        if sentence_pairs.len() != scores.len() {
            let got = format!("{} pairs and {} scores", sentence_pairs.len(), scores.len());
            return Err(Error::rows(NAME, "a score for each pair", got));
        }
        if scores.len() < 2 {
            return Err(Error::rows(NAME, "at least two pairs", scores.len()));
        }
        if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::cell(NAME, row, "", "a finite score", scores[row]));
        }
        let name = name.into();
        let (batch_size, write_csv) = (usize::MAX, true);
        Ok(CrossEncoderCorrelationEvaluator { sentence_pairs, scores, name, batch_size, write_csv })
    }

    /// [`CrossEncoderCorrelationEvaluator::new`] with the columns of a table: first text, second
    /// text, gold score.
    ///
    /// # Errors
    /// A missing column, a cell of another type, or as [`CrossEncoderCorrelationEvaluator::new`].
    pub fn from_rows(
        rows: &Rows,
        columns: [&str; 3],
        name: impl Into<String>,
    ) -> Result<CrossEncoderCorrelationEvaluator, Error> {
        let (first, second) = (rows.texts(columns[0])?, rows.texts(columns[1])?);
        let pairs = first.iter().zip(second).map(|(a, b)| ((*a).to_owned(), b.to_owned()));
        CrossEncoderCorrelationEvaluator::new(pairs.collect(), rows.numbers(columns[2])?, name)
    }
}

const NAME: &str = "CrossEncoderCorrelationEvaluator";

impl<S: Score + ?Sized> Evaluator<S> for CrossEncoderCorrelationEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        with_name(&self.name, "spearman")
    }

    fn metric_names(&self, _: &S) -> Vec<String> {
        ["pearson", "spearman"].iter().map(|key| with_name(&self.name, key)).collect()
    }

    fn config(&self) -> serde_json::Value {
        json!({})
    }

    fn evaluate(&self, model: &S, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "{NAME}: Evaluating the model on {} dataset{}:",
            self.name,
            record::when(context)
        ));
        let pairs: Vec<(&str, &str)> =
            self.sentence_pairs.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
        let predicted = finite_scores(model, &pairs, self.batch_size, reporter)?;
        let predicted: Vec<f64> = predicted.into_iter().map(f64::from).collect();
        record::warn_of_constants(NAME, "predictions", &predicted, &**reporter);
        record::warn_of_constants(NAME, "gold scores", &self.scores, &**reporter);
        let pearson = statistics::pearson(&self.scores, &predicted);
        let spearman = statistics::spearman(&self.scores, &predicted);
        reporter.message(&format!(
            "Correlation:\tPearson: {}\tSpearman: {}",
            record::rounded(pearson, 4),
            record::rounded(spearman, 4)
        ));
        if self.write_csv {
            let headers = ["Pearson_Correlation", "Spearman_Correlation"].map(str::to_owned);
            let file = record::csv_file(NAME, &[&self.name]);
            record::append_row(context, &file, &headers, &[pearson, spearman])?;
        }
        let mut metrics = Metrics::new();
        metrics.insert("pearson", pearson);
        metrics.insert("spearman", spearman);
        Ok(metrics.with_prefix(&self.name))
    }
}
