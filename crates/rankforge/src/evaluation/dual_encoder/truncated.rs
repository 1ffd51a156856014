use crate::error::Error;
use crate::evaluation::dual_encoder::cached_embeddings::CachedEmbeddings;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator};
use crate::metrics::Metrics;
use rankforge_encoder::Embed;
use serde_json::{Value, json};

/// An evaluator that can look at the leading dimensions of embeddings only.
pub trait Truncate: Clone + Send + Sync {
    /// Truncates embeddings to `dimension` dimensions.
    fn truncate(&mut self, dimension: usize);

    /// Sets the name of the data, the prefix of the metrics' keys.
    fn rename(&mut self, name: String);

    /// The same evaluator of embeddings that are truncated to `dimension` dimensions, which are the
    /// end of its name: `{name}_{dimension}`.
    fn at_dimension(&self, name: &str, dimension: usize) -> Self {
        let mut evaluator = self.clone();
        evaluator.truncate(dimension);
        let separator = if name.is_empty() { "" } else { "_" };
        evaluator.rename(format!("{name}{separator}{dimension}"));
        evaluator
    }
}

/// `evaluator` as it is where there is no dimension, at a single one with its own name, or a
/// [`TruncatedEvaluator`] of several.
///
/// # Errors
/// As [`TruncatedEvaluator::new`].
pub fn at_dimensions<E, T>(
    mut evaluator: T,
    dimensions: &[usize],
) -> Result<Box<dyn Evaluator<E>>, Error>
where
    E: Embed,
    T: Truncate + Evaluator<E> + for<'a> Evaluator<CachedEmbeddings<'a>> + 'static,
{
    match dimensions {
        [] => Ok(Box::new(evaluator)),
        several => {
            let truncated = TruncatedEvaluator::new(evaluator.clone(), several.to_vec())?;
            if let [single] = several {
                evaluator.truncate(*single);
                return Ok(Box::new(evaluator));
            }
            Ok(Box::new(truncated))
        }
    }
}

/// An evaluator at several dimensions of the embeddings, which are computed once.
///
/// The metrics and the CSV files of each dimension are those of an evaluator with the name
/// `{name}_{dimension}`. The primary metric is that of the first dimension.
#[derive(Clone, Debug)]
pub struct TruncatedEvaluator<T> {
    evaluator: T,
    dimensions: Vec<usize>,
}

impl<T: Truncate + for<'a> Evaluator<CachedEmbeddings<'a>>> TruncatedEvaluator<T> {
    /// `evaluator` at each of `dimensions`, in this order.
    ///
    /// # Errors
    /// No dimension, one of 0, or the same twice.
    pub fn new(evaluator: T, dimensions: Vec<usize>) -> Result<TruncatedEvaluator<T>, Error> {
        let repeated = |index: &usize| dimensions[..*index].contains(&dimensions[*index]);
        if dimensions.is_empty() {
            return Err(Error::argument("truncate_dim", "at least one dimension", "none"));
        }
        if dimensions.contains(&0) {
            return Err(Error::argument("truncate_dim", "dimensions of at least 1", 0));
        }
        if let Some(index) = (0..dimensions.len()).find(repeated) {
            let got = format!("{} twice", dimensions[index]);
            return Err(Error::argument("truncate_dim", "different dimensions", got));
        }
        Ok(TruncatedEvaluator { evaluator, dimensions })
    }

    fn each(&self) -> impl Iterator<Item = T> {
        let name = self.evaluator.name();
        self.dimensions.iter().map(move |dimension| self.evaluator.at_dimension(name, *dimension))
    }

    fn cached<'a>(&self, model: &'a dyn Embed) -> CachedEmbeddings<'a> {
        let widest = self.dimensions.iter().max().expect("at least one dimension");
        CachedEmbeddings::new(model, *widest)
    }
}

impl<E, T> Evaluator<E> for TruncatedEvaluator<T>
where
    E: Embed,
    T: Truncate + for<'a> Evaluator<CachedEmbeddings<'a>>,
{
    fn class_name(&self) -> &'static str {
        self.evaluator.class_name()
    }

    fn name(&self) -> &str {
        self.evaluator.name()
    }

    fn primary_metric(&self, metrics: &Metrics) -> String {
        let first = self.each().next().expect("at least one dimension");
        first.primary_metric(metrics)
    }

    fn metric_names(&self, model: &E) -> Vec<String> {
        let cached = self.cached(model);
        self.each().flat_map(|evaluator| evaluator.metric_names(&cached)).collect()
    }

    fn config(&self) -> Value {
        let mut config = self.evaluator.config();
        config["truncate_dim"] = json!(self.dimensions);
        config
    }

    fn evaluate(&self, model: &E, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let cached = self.cached(model);
        let mut metrics = Metrics::new();
        for evaluator in self.each() {
            metrics.0.extend(evaluator.evaluate(&cached, context)?.0);
        }
        Ok(metrics)
    }
}
