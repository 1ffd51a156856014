use crate::error::Error;
use crate::evaluation::dual_encoder::embeddings::Encoding;
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::record;
use crate::metrics::Metrics;
use rankforge_encoder::{Embed, EncodeOptions, Outputs, Side};
use serde_json::json;
use std::sync::Arc;

/// The mean squared difference between a model's embeddings of target texts and a teacher's
/// embeddings of source texts, such as their translations.
///
/// Key: `negative_mse`, which is -100 times that mean over texts and dimensions.
#[derive(Clone, Debug)]
pub struct MSEEvaluator {
    source_embeddings: Arc<Outputs>,
    target_sentences: Vec<String>,
    name: String,
    /// Number of leading dimensions of both models' embeddings; `None`: those of the models.
    pub truncate_dim: Option<usize>,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

const NAME: &str = "MSEEvaluator";

impl MSEEvaluator {
    /// An evaluator of `target_sentences`, with `name` before the key of its metric. The teacher
    /// embeds `source_sentences` now, as `options` say.
    ///
    /// # Errors
    /// Other numbers of texts, none, or a text that the teacher cannot read.
    pub fn new<T: Embed + ?Sized>(
        source_sentences: &[&str],
        target_sentences: Vec<String>,
        teacher_model: &T,
        options: &EncodeOptions,
        name: impl Into<String>,
    ) -> Result<MSEEvaluator, Error> {
        if source_sentences.len() != target_sentences.len() {
            let got = format!("{} and {}", source_sentences.len(), target_sentences.len());
            return Err(Error::rows(NAME, "as many target sentences as source sentences", got));
        }
        if source_sentences.is_empty() {
            return Err(Error::rows(NAME, "at least one pair", "none"));
        }
        let source_embeddings = teacher_model.embed(Side::Text, source_sentences, options)?;
        Ok(MSEEvaluator {
            source_embeddings: Arc::new(source_embeddings),
            target_sentences,
            name: name.into(),
            truncate_dim: None,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }
}

impl Truncate for MSEEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for MSEEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        with_name(&self.name, "negative_mse")
    }

    fn metric_names(&self, _: &E) -> Vec<String> {
        vec![with_name(&self.name, "negative_mse")]
    }

    fn config(&self) -> serde_json::Value {
        record::config([("truncate_dim", self.truncate_dim.map(|dimension| json!(dimension)))])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        let (batch_size, truncate_dim) = (self.batch_size, self.truncate_dim);
        let encoding = Encoding { batch_size, truncate_dim, normalize: false, reporter };
        let targets: Vec<&str> = self.target_sentences.iter().map(String::as_str).collect();
        let targets = encoding.embed(model, Side::Text, &targets)?;
        let sources = &self.source_embeddings;
        let columns = self.truncate_dim.map_or(sources.columns, |dim| dim.min(sources.columns));
        if columns != targets.columns {
            let expected =
                format!("a model of {columns} dimensions, as the embeddings of the teacher have");
            return Err(Error::argument(NAME, expected, targets.columns));
        }
        let squares = (0..targets.rows).map(|row| {
            let pairs = sources.row(row).iter().zip(targets.row(row));
            pairs.map(|(source, target)| f64::from(source - target).powi(2)).sum::<f64>()
        });
        let mse = 100.0 * squares.sum::<f64>() / (targets.rows * columns) as f64;
        reporter.message(&format!(
            "MSE evaluation (lower = better) on the {} dataset{}:",
            self.name,
            record::when_truncated(context, self.truncate_dim)
        ));
        reporter.message(&format!("MSE (*100):\t{mse:.6}"));
        if self.write_csv {
            // With two underscores where there is no name, as in sentence-transformers.
            let file = format!("mse_evaluation_{}_results.csv", self.name);
            record::append_row(context, &file, &["MSE".to_owned()], &[mse])?;
        }
        let mut metrics = Metrics::new();
        metrics.insert("negative_mse", -mse);
        Ok(metrics.with_prefix(&self.name))
    }
}
