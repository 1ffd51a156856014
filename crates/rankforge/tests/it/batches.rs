//! Helpers: one batch of a tiny model, its gradients, and comparisons of gradients.

use rankforge::data::Rows;
use rankforge::encoder::kernels::ParameterId;
use rankforge::encoder::{BatchBudget, Model, TextModel};
use rankforge::losses::{Loss, LossOutput};
use rankforge::training::{Dataset, GradientCache, PreparedBatch, Preparer, SetBatch};
use std::sync::Arc;

/// The budget of a batch in one chunk.
pub(crate) const WHOLE: BatchBudget =
    BatchBudget { max_sequences: usize::MAX, max_tokens: usize::MAX };

/// The budget of chunks of `max_sequences` sequences.
pub(crate) fn chunks_of(max_sequences: usize) -> BatchBudget {
    BatchBudget { max_sequences, ..WHOLE }
}

/// A preparer of rows for a model, with a prompt for each text column, or without prompts.
pub(crate) fn preparer(
    model: &dyn TextModel,
    loss: &Arc<dyn Loss>,
    rows: &Rows,
    prompts: &[&str],
) -> Preparer {
    let dataset = Dataset::new(Arc::new(rows.clone()), None, "test data").unwrap();
    let prompts: Vec<Option<String>> = match prompts {
        [] => vec![None; dataset.text_names().len()],
        prompts => prompts.iter().map(|text| Some((*text).to_owned())).collect(),
    };
    Preparer::new(dataset, loss.clone(), model.tokenizer().clone(), &prompts, 7).unwrap()
}

/// All rows as one batch, with the random choices of step 3.
pub(crate) fn prepared(
    model: &dyn TextModel,
    loss: &Arc<dyn Loss>,
    rows: &Rows,
    prompts: &[&str],
) -> PreparedBatch {
    let all = SetBatch { set: 0, rows: (0..rows.len()).collect() };
    preparer(model, loss, rows, prompts).prepare(&all, 3).unwrap()
}

/// The loss of a batch, and the gradients of all parameters.
pub(crate) fn gradients_of(
    model: &Model,
    loss: &dyn Loss,
    batch: &PreparedBatch,
    budget: BatchBudget,
) -> (LossOutput, Vec<f32>) {
    let mut cache = GradientCache::new(model);
    let output = cache.add_gradients(model, loss, batch, budget, 1.0);
    (output, cache.gradients.flat().to_vec())
}

/// Compares the largest difference with the largest element. Both sides sum the same products in
/// different orders, over at most a few hundred tokens, hence the tolerance of 300 roundings.
#[track_caller]
pub(crate) fn assert_same_gradients(found: &[f32], expected: &[f32], what: &str) {
    let largest = expected.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    let difference = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest > 0.0, "{what}: all gradients are zero");
    assert!(difference <= 300.0 * f32::EPSILON * largest, "{what}: {difference} of {largest}");
}

/// Compares the gradients of a batch with central differences of its loss. Each parameter matrix is
/// moved by itself in the direction of its gradient. In that direction the derivative of the loss
/// is the norm of the gradient, so no cancellation can hide an error. Dropout must be off, as the
/// loss is evaluated without dropout.
///
/// `unreached` names the matrices that receive no gradient.
pub(crate) fn check_finite_differences(
    mut model: Model,
    loss: &dyn Loss,
    batch: &PreparedBatch,
    unreached: &[&str],
) {
    let mut cache = GradientCache::new(&model);
    cache.add_gradients(&model, loss, batch, WHOLE, 1.0);
    let original = model.parameters().flat().to_vec();
    let names: Vec<String> =
        model.architecture().parameters.iter().map(|spec| spec.name.clone()).collect();
    for (id, name) in names.iter().enumerate() {
        let id = ParameterId(id);
        let gradient = cache.gradients.view(id).to_vec();
        let length = gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        if unreached.contains(&name.as_str()) {
            assert_eq!(length, 0.0, "{name}");
            continue;
        }
        assert!(length > 0.0, "{name}: no gradient");
        let mut value_at = |distance: f64| {
            let mut parameters = model.parameters().view(id).to_vec();
            for (parameter, slope) in parameters.iter_mut().zip(&gradient) {
                *parameter += (distance * f64::from(*slope) / length) as f32;
            }
            model.parameters_mut().view_mut(id).write(&parameters);
            let value = cache.loss(&model, loss, batch, WHOLE).value;
            model.parameters_mut().flat_mut().write(&original);
            value
        };
        // Richardson extrapolation from two step widths has an error of fourth order.
        let step = 2e-3;
        let mut slope = |step: f64| (value_at(step) - value_at(-step)) / (2.0 * step);
        let (wide, narrow) = (slope(2.0 * step), slope(step));
        let difference = ((4.0 * narrow - wide) / 3.0 - length).abs();
        // The rounding error of f32 outputs near 1 (about 16 epsilons through the blocks) divided
        // by the step, and 1 % for the error of the extrapolation.
        let tolerance = 16.0 * f64::from(f32::EPSILON) / step + 0.01 * length;
        assert!(
            difference <= tolerance,
            "{name}: difference quotients {narrow} (step {step}) and {wide} (twice the step), \
             gradient norm {length}"
        );
    }
}
