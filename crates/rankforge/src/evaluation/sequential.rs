use super::{Evaluator, Moment};
use crate::{Error, Metrics};
use rankforge_encoder::Reporter;
use serde_json::json;

/// Several evaluators, one after the other; adds `sequential_score`, the primary figure of the last.
pub struct SequentialEvaluator<M: ?Sized> {
    evaluators: Vec<Box<dyn Evaluator<M>>>,
}

impl<M: ?Sized> SequentialEvaluator<M> {
    /// From evaluators, in order.
    ///
    /// # Errors
    /// When there is none.
    pub fn new(evaluators: Vec<Box<dyn Evaluator<M>>>) -> Result<SequentialEvaluator<M>, Error> {
        if evaluators.is_empty() {
            return Err(Error::Input(
                "SequentialEvaluator needs at least one evaluator".to_owned(),
            ));
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

    fn primary_metric(&self) -> String {
        "sequential_score".to_owned()
    }

    fn config(&self) -> serde_json::Value {
        json!({})
    }

    fn evaluate(
        &self,
        model: &M,
        moment: Moment<'_>,
        reporter: &dyn Reporter,
    ) -> Result<Metrics, Error> {
        let mut all = Metrics::new();
        let mut score = f64::NAN;
        for evaluator in &self.evaluators {
            let metrics = evaluator.evaluate(model, moment, reporter)?;
            let primary = evaluator.primary_metric();
            score = metrics.get(&primary).ok_or_else(|| {
                Error::Input(format!(
                    "{} returned no figure called `{primary}`",
                    evaluator.class_name()
                ))
            })?;
            for (name, value) in metrics.0 {
                if all.0.insert(name.clone(), value).is_some() {
                    reporter.warning(&format!(
                        "two evaluators report `{name}` and the later one stays: give them different names"
                    ));
                }
            }
        }
        all.insert("sequential_score", score);
        Ok(all)
    }
}
