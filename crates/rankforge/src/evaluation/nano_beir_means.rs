use crate::error::Error;
use crate::evaluation::evaluator::{EvaluationContext, Evaluator, with_name};
use crate::metrics::Metrics;

/// Evaluates a model on each collection, and takes the means of the metrics. Returns the metrics of
/// all collections, and the mean of each of `keys`, which are metrics without the name of their
/// collection.
///
/// # Errors
/// Those of the evaluators.
pub(in crate::evaluation) fn evaluate_each<M: ?Sized, E: Evaluator<M>>(
    evaluators: &[E],
    keys: &[String],
    model: &M,
    context: &EvaluationContext<'_>,
) -> Result<(Metrics, Vec<f64>), Error> {
    let (mut all, mut means) = (Metrics::new(), vec![0.0; keys.len()]);
    for evaluator in evaluators {
        let name = evaluator.name();
        context.reporter.message(&format!("Evaluating {name}"));
        let found = evaluator.evaluate(model, context)?;
        for (mean, key) in means.iter_mut().zip(keys) {
            *mean += found.0[&with_name(name, key)] / evaluators.len() as f64;
        }
        all.0.extend(found.0);
    }
    Ok((all, means))
}
