use crate::error::Error;
use crate::evaluation::details::DetailCollector;
use crate::metrics::Metrics;
use rankforge_base::{Reporter, silent};
use std::path::Path;
use std::sync::Arc;

/// When in a run an evaluation happens, where its CSV file goes, and what receives its messages.
/// The default is an evaluation outside training that writes no file and reports nothing.
#[derive(Clone, Debug)]
pub struct EvaluationContext<'a> {
    /// Folder of the CSV file; `None` writes none.
    pub output_path: Option<&'a Path>,
    /// Epoch; -1 outside training.
    pub epoch: f64,
    /// Step; -1 outside training or at the end of an epoch.
    pub steps: i64,
    /// Receives progress and metrics.
    pub reporter: Arc<dyn Reporter>,
    /// Takes what evaluators find besides metrics; `None` asks for nothing.
    pub details: Option<&'a DetailCollector>,
}

impl Default for EvaluationContext<'_> {
    fn default() -> Self {
        EvaluationContext {
            output_path: None,
            epoch: -1.0,
            steps: -1,
            reporter: silent(),
            details: None,
        }
    }
}

/// Measures a model.
pub trait Evaluator<M: ?Sized>: Send + Sync {
    /// Class name as in sentence-transformers.
    fn class_name(&self) -> &'static str;

    /// Name of the data set, the prefix of the keys.
    fn name(&self) -> &str;

    /// The key of the metric that decides which model is best, prefix included. `metrics` are those
    /// that [`Evaluator::evaluate`] returned: with several score functions, their values decide.
    fn primary_metric(&self, metrics: &Metrics) -> String;

    /// The keys of all metrics that [`Evaluator::evaluate`] returns for `model`, prefix included. A
    /// run refuses a `metric_for_best_model` that is none of them before its first step.
    fn metric_names(&self, model: &M) -> Vec<String>;

    /// Settings, for the model card.
    fn config(&self) -> serde_json::Value;

    /// The metrics, keys with prefix.
    ///
    /// # Errors
    /// When the model cannot read an input, or the CSV file cannot be written.
    fn evaluate(&self, model: &M, context: &EvaluationContext<'_>) -> Result<Metrics, Error>;
}

/// A key with the name of the data set in front, when there is one.
pub(crate) fn with_name(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}_{key}") }
}
