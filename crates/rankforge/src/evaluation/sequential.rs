use crate::error::Error;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator};
use crate::metrics::Metrics;
use serde_json::json;

/// Several evaluators, one after the other. Adds `sequential_score`, the primary metric of the last
/// one.
pub struct SequentialEvaluator<M: ?Sized> {
    evaluators: Vec<Box<dyn Evaluator<M>>>,
}

/// The metric that it adds.
const SCORE: &str = "sequential_score";

impl<M: ?Sized> SequentialEvaluator<M> {
    /// Evaluates with `evaluators`, in order.
    ///
    /// # Errors
    /// When there is no evaluator.
    pub fn new(evaluators: Vec<Box<dyn Evaluator<M>>>) -> Result<SequentialEvaluator<M>, Error> {
        if evaluators.is_empty() {
            return Err(Error::argument("evaluators", "at least one", "none"));
        }
        Ok(SequentialEvaluator { evaluators })
    }

    /// The evaluators, in order.
    pub fn evaluators(&self) -> &[Box<dyn Evaluator<M>>] {
        &self.evaluators
    }
}

impl<M: ?Sized> Evaluator<M> for SequentialEvaluator<M> {
    fn class_name(&self) -> &'static str {
        "SequentialEvaluator"
    }

    fn name(&self) -> &str {
        ""
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        SCORE.to_owned()
    }

    fn metric_names(&self, model: &M) -> Vec<String> {
        let names = self.evaluators.iter().flat_map(|evaluator| evaluator.metric_names(model));
        names.chain([SCORE.to_owned()]).collect()
    }

    fn config(&self) -> serde_json::Value {
        json!({})
    }

    fn evaluate(&self, model: &M, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let mut all = Metrics::new();
        let mut score = f64::NAN;
        for evaluator in &self.evaluators {
            let metrics = evaluator.evaluate(model, context)?;
            let primary = evaluator.primary_metric(&metrics);
            score = metrics.get(&primary).ok_or_else(|| {
                let known: Vec<&str> = metrics.0.keys().map(String::as_str).collect();
                Error::argument(
                    evaluator.class_name(),
                    format!("a metric `{primary}`"),
                    known.join(", "),
                )
            })?;
            for (name, value) in metrics.0 {
                if all.0.insert(name.clone(), value).is_some() {
                    context.reporter.warning(&format!(
                        "two evaluators report `{name}`, and the later one is kept: give them \
                         different names"
                    ));
                }
            }
        }
        all.insert(SCORE, score);
        Ok(all)
    }
}
