use crate::error::Error;
use crate::evaluation::dual_encoder::embeddings::{
    Distinct, Encoding, capitalized, functions, key_names, primary_key, similarities,
};
use crate::evaluation::dual_encoder::truncated::Truncate;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::evaluation::{record, statistics};
use crate::metrics::Metrics;
use crate::retrieval::to_device;
use crate::util::{EmbeddingPrecision, QuantizedValues, quantize_embeddings};
use rankforge_data::Rows;
use rankforge_encoder::{Embed, Outputs, Side};
use rankforge_kernels::ops::Similarity;
use serde_json::json;

/// Pearson's and Spearman's correlation between the similarities of pairs of texts and gold scores.
///
/// Keys `pearson_f` and `spearman_f` for each similarity function `f`, and `pearson_max` and
/// `spearman_max` of several. The primary metric is that Spearman correlation of
/// `main_similarity`, else `spearman_max`, else the only one.
#[derive(Clone, Debug)]
pub struct EmbeddingSimilarityEvaluator {
    sentences1: Vec<String>,
    sentences2: Vec<String>,
    scores: Vec<f64>,
    name: String,
    /// The similarity function of the primary metric; it is the only one when
    /// `similarity_fn_names` has none.
    pub main_similarity: Option<Similarity>,
    /// Similarity functions; `main_similarity`, else that of the model, when there is none.
    pub similarity_fn_names: Vec<Similarity>,
    /// Precision to which the normalised embeddings are quantised; `None` leaves them unchanged.
    /// Both sides share the ranges of int8 and uint8. Bits are compared as zeros and ones.
    pub precision: Option<EmbeddingPrecision>,
    /// Number of leading dimensions of the embeddings; `None`: those of the model.
    pub truncate_dim: Option<usize>,
    /// Maximum number of texts in a batch; by default only the tokens are bounded.
    pub batch_size: usize,
    /// Whether to write the CSV file.
    pub write_csv: bool,
}

const NAME: &str = "EmbeddingSimilarityEvaluator";

impl EmbeddingSimilarityEvaluator {
    /// An evaluator of pairs and their gold scores, with `name` before the keys of its metrics.
    ///
    /// # Errors
    /// Other numbers of texts or scores, fewer than two pairs, or a score that is not finite.
    pub fn new(
        sentences1: Vec<String>,
        sentences2: Vec<String>,
        scores: Vec<f64>,
        name: impl Into<String>,
    ) -> Result<EmbeddingSimilarityEvaluator, Error> {
        let counts = [sentences1.len(), sentences2.len(), scores.len()];
        if counts != [counts[0]; 3] {
            let got = format!("{}, {} and {}", counts[0], counts[1], counts[2]);
            return Err(Error::rows(NAME, "as many texts on both sides as scores", got));
        }
        if scores.len() < 2 {
            return Err(Error::rows(NAME, "at least two pairs", scores.len()));
        }
        if let Some(row) = scores.iter().position(|score| !score.is_finite()) {
            return Err(Error::cell(NAME, row, "", "a finite score", scores[row]));
        }
        Ok(EmbeddingSimilarityEvaluator {
            sentences1,
            sentences2,
            scores,
            name: name.into(),
            main_similarity: None,
            similarity_fn_names: Vec::new(),
            precision: None,
            truncate_dim: None,
            batch_size: usize::MAX,
            write_csv: true,
        })
    }

    /// [`EmbeddingSimilarityEvaluator::new`] with the columns of a table: first text, second text,
    /// gold score.
    ///
    /// # Errors
    /// A missing column, a cell of another type, or as [`EmbeddingSimilarityEvaluator::new`].
    pub fn from_rows(
        rows: &Rows,
        columns: [&str; 3],
        name: impl Into<String>,
    ) -> Result<EmbeddingSimilarityEvaluator, Error> {
        let (first, second) = (rows.owned_texts(columns[0])?, rows.owned_texts(columns[1])?);
        EmbeddingSimilarityEvaluator::new(first, second, rows.numbers(columns[2])?, name)
    }

    fn functions<E: Embed + ?Sized>(&self, model: &E) -> Vec<Similarity> {
        functions(&self.similarity_fn_names, self.main_similarity, model)
    }

    /// The embeddings, quantised where the evaluator says so.
    fn quantized(&self, embeddings: Outputs) -> Result<Outputs, Error> {
        let Outputs { rows, columns, .. } = embeddings;
        let values = match self.precision.unwrap_or(EmbeddingPrecision::Float32) {
            EmbeddingPrecision::Binary | EmbeddingPrecision::Ubinary => {
                embeddings.values.iter().map(|value| f32::from(u8::from(*value > 0.0))).collect()
            }
            precision => match quantize_embeddings(embeddings, precision, None)?.values {
                QuantizedValues::Int8(values) => values.into_iter().map(f32::from).collect(),
                QuantizedValues::Uint8(values) => values.into_iter().map(f32::from).collect(),
                QuantizedValues::Float32(values) => values,
            },
        };
        Ok(Outputs { rows, columns, values })
    }
}

impl Truncate for EmbeddingSimilarityEvaluator {
    fn truncate(&mut self, dimension: usize) {
        self.truncate_dim = Some(dimension);
    }

    fn rename(&mut self, name: String) {
        self.name = name;
    }
}

impl<E: Embed + ?Sized> Evaluator<E> for EmbeddingSimilarityEvaluator {
    fn class_name(&self) -> &'static str {
        NAME
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, metrics: &Metrics) -> String {
        let key = |name: &str| with_name(&self.name, &format!("spearman_{name}"));
        primary_key(self.main_similarity, metrics, key)
    }

    fn metric_names(&self, model: &E) -> Vec<String> {
        let names = key_names(&self.functions(model));
        let keys = names.iter().flat_map(|name| {
            ["pearson", "spearman"].map(|metric| with_name(&self.name, &format!("{metric}_{name}")))
        });
        keys.collect()
    }

    fn config(&self) -> serde_json::Value {
        record::config([
            ("truncate_dim", self.truncate_dim.map(|dimension| json!(dimension))),
            ("precision", self.precision.map(|precision| json!(precision.name()))),
        ])
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let reporter = &context.reporter;
        reporter.message(&format!(
            "{NAME}: Evaluating the model on the {} dataset{}:",
            self.name,
            record::when_truncated(context, self.truncate_dim)
        ));
        let mut distinct = Distinct::default();
        let first = distinct.places(self.sentences1.iter().map(String::as_str));
        let second = distinct.places(self.sentences2.iter().map(String::as_str));
        let (batch_size, truncate_dim) = (self.batch_size, self.truncate_dim);
        let normalize = self.precision.is_some();
        let encoding = Encoding { batch_size, truncate_dim, normalize, reporter };
        let embeddings = encoding.embed(model, Side::Text, &distinct.list())?;
        let embeddings = to_device(model.device(), self.quantized(embeddings)?);
        let functions = self.functions(model);
        let (mut metrics, mut headers, mut row) = (Metrics::new(), Vec::new(), Vec::new());
        let mut max = [f64::NEG_INFINITY; 2];
        for function in &functions {
            let scores = similarities(*function, &embeddings, &embeddings, (&first, &second));
            let scores: Vec<f64> = scores.into_iter().map(f64::from).collect();
            let correlations = [
                ("pearson", statistics::pearson(&self.scores, &scores)),
                ("spearman", statistics::spearman(&self.scores, &scores)),
            ];
            for (best, (metric, value)) in max.iter_mut().zip(correlations) {
                metrics.insert(format!("{metric}_{}", function.name()), value);
                headers.push(format!("{}_{metric}", function.name()));
                row.push(value);
                *best = best.max(value);
            }
            reporter.message(&format!(
                "{}-Similarity:\tPearson: {}\tSpearman: {}",
                capitalized(*function),
                record::rounded(correlations[0].1, 4),
                record::rounded(correlations[1].1, 4)
            ));
        }
        record::warn_of_constants(NAME, "gold scores", &self.scores, &**reporter);
        if self.write_csv {
            let precision = self.precision.map_or("", EmbeddingPrecision::name);
            let file = record::csv_file("similarity_evaluation", &[&self.name, precision]);
            record::append_row(context, &file, &headers, &row)?;
        }
        if functions.len() > 1 {
            metrics.insert("pearson_max", max[0]);
            metrics.insert("spearman_max", max[1]);
        }
        Ok(metrics.with_prefix(&self.name))
    }
}
