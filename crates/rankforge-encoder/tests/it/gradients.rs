//! Gradients without golden values: compared with finite differences under dropout, accumulated
//! over batches, and computed for the query tokens that the head reads only.

use crate::fixture::{FAMILIES, Goldens, batch, classifier, device, largest, outputs, zeros_like};
use rankforge_encoder::kernels::ops::{Activation, Pooling};
use rankforge_encoder::kernels::{Arena, Indices, ParameterId};
use rankforge_encoder::{
    Architecture, Batch, HeadStage, Mode, Model, Outputs, TransformerTask, Workspace,
};
use serde_json::{Value, json};
use std::path::Path;

pub(crate) const TRAINING: Mode = Mode::Training { seed: 11, step: 2, chunk: 0 };

/// Config fields that turn on every dropout of every family.
pub(crate) fn dropout() -> Value {
    json!({
        "hidden_dropout_prob": 0.2,
        "attention_probs_dropout_prob": 0.3,
        "classifier_dropout": 0.25,
        "dropout": 0.2,
        "attention_dropout": 0.3,
        "seq_classif_dropout": 0.25,
        "embedding_dropout": 0.2,
        "mlp_dropout": 0.15,
    })
}

pub(crate) fn gradients(model: &Model, batch: &Batch, mode: Mode, d_outputs: &Outputs) -> Arena {
    let (mut workspace, mut gradients) = (Workspace::new(model.device()), zeros_like(model));
    model.forward(batch, mode, true, &mut workspace);
    model.backward(d_outputs, batch, mode, &mut workspace, &mut gradients);
    gradients
}

/// Compares the gradient of `sum(outputs * d_outputs)` with central differences, for each matrix of
/// parameters that is trained, along the direction of its gradient.
///
/// Along the gradient the slope is the gradient's length, the largest slope that there is, so that
/// an error cannot cancel out.
pub(crate) fn check_directions(
    name: &str,
    mut model: Model,
    batch: &Batch,
    mode: Mode,
    d_outputs: &Outputs,
) {
    let gradients = gradients(&model, batch, mode, d_outputs);
    let mut workspace = Workspace::new(model.device());
    let original = model.parameters().flat().to_vec();
    let specs = model.architecture().parameters.clone();
    for (id, spec) in specs.iter().enumerate() {
        if !gradients.has(ParameterId(id)) {
            continue;
        }
        let gradient = gradients.view(ParameterId(id)).to_vec();
        let length = gradient.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        assert!(length > 0.0, "{name}, {}: no gradient", spec.name);
        let mut value_at = |distance: f64| {
            let mut parameters = model.parameters().view(ParameterId(id)).to_vec();
            for (parameter, slope) in parameters.iter_mut().zip(&gradient) {
                *parameter += (distance * f64::from(*slope) / length) as f32;
            }
            model.parameters_mut().view_mut(ParameterId(id)).write(&parameters);
            let outputs = model.forward(batch, mode, false, &mut workspace);
            model.parameters_mut().flat_mut().write(&original);
            let products = outputs.values.iter().zip(&d_outputs.values);
            products.map(|(output, weight)| f64::from(output * weight)).sum::<f64>()
        };
        // Richardson extrapolation of two step sizes leaves an error of the fourth order.
        let step = 2e-3;
        let mut slope = |step: f64| (value_at(step) - value_at(-step)) / (2.0 * step);
        let (wide, narrow) = (slope(2.0 * step), slope(step));
        let difference = ((4.0 * narrow - wide) / 3.0 - length).abs();
        // The rounding error of f32 outputs near 1, about 16 epsilons after all blocks, divided by
        // the step; and 1 % for the error of the extrapolation.
        let tolerance = 16.0 * f64::from(f32::EPSILON) / step + 0.01 * length;
        assert!(
            difference <= tolerance,
            "{name}, {}: slope {narrow} (step {step}), {wide} (step {}), gradient {length}",
            spec.name,
            2.0 * step
        );
    }
}

#[test]
fn gradients_of_every_family_agree_with_finite_differences_under_dropout() {
    for (family, _) in FAMILIES {
        let (model, goldens) = (classifier(&device(2), family, &dropout()), Goldens::open(family));
        let batch = batch(&goldens.sequences, &model);
        let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
        check_directions(family, model, &batch, TRAINING, &d_outputs);
    }
}

/// BERT with a head of every stage, and of every mode of pooling.
pub(crate) fn every_head_stage() -> Architecture {
    let fields = crate::fixture::config("bert-base");
    let task = TransformerTask::FeatureExtraction;
    let mut architecture =
        Architecture::from_config(&fields, Path::new("config.json"), &task).expect("valid");
    let modes = vec![
        Pooling::Cls,
        Pooling::Max,
        Pooling::Mean,
        Pooling::MeanSqrtLen,
        Pooling::WeightedMean,
        Pooling::LastToken,
    ];
    let dense = |inputs, outputs, activation, residual| HeadStage::Dense {
        inputs,
        outputs,
        bias: true,
        activation,
        residual,
    };
    architecture.push_stage(HeadStage::Pool { modes, skip_prompt: true }, "");
    architecture.push_stage(HeadStage::Dropout(0.1), "");
    architecture.push_stage(dense(144, 10, Activation::Gelu, true), "a");
    architecture.push_stage(dense(10, 10, Activation::Tanh, true), "b");
    architecture.push_stage(HeadStage::LayerNorm { width: 10, epsilon: 1e-5, bias: true }, "c");
    architecture.push_stage(dense(10, 4, Activation::Identity, false), "d");
    architecture.push_stage(HeadStage::Normalize, "");
    architecture
}

/// Golden sequences for [`every_head_stage`], some of which begin with a prompt, and a gradient of
/// the outputs.
pub(crate) fn prompted(model: &Model) -> (Batch, Outputs) {
    let mut batch = batch(&Goldens::open("bert").sequences, model);
    batch.prompt_tokens = Some(Indices::new(model.device(), &[2, 0, 1]));
    (batch, outputs(3, (0..12).map(|index| (index as f32).sin()).collect()))
}

#[test]
fn gradients_of_every_head_stage_agree_with_finite_differences() {
    let model = Model::new(&device(2), every_head_stage(), 9);
    let (batch, d_outputs) = prompted(&model);
    check_directions("head", model, &batch, TRAINING, &d_outputs);
}

#[test]
fn computing_only_the_query_tokens_that_the_head_reads_changes_nothing() {
    for (family, _) in FAMILIES {
        let goldens = Goldens::open(family);
        for pooling in [Pooling::Cls, Pooling::LastToken] {
            let run = |modes: Vec<Pooling>| {
                let (config, task) =
                    (crate::fixture::config(family), TransformerTask::FeatureExtraction);
                let mut architecture =
                    Architecture::from_config(&config, Path::new("config.json"), &task)
                        .expect("fixture");
                let (count, hidden) = (modes.len(), architecture.encoder.hidden_size);
                architecture.push_stage(HeadStage::Pool { modes, skip_prompt: false }, "");
                let model = Model::new(&device(2), architecture, 9);
                let batch = batch(&goldens.sequences, &model);
                let mut workspace = Workspace::new(model.device());
                let values = model.forward(&batch, Mode::Inference, false, &mut workspace).values;
                // Only the columns of the first mode are compared and have a gradient.
                let is_first_mode = |index: usize| index % (count * hidden) < hidden;
                let row = |index: usize| index / (count * hidden);
                let d_output = |index: usize| match is_first_mode(index) {
                    true => ((row(index) * hidden + index % hidden) as f32).sin(),
                    false => 0.0,
                };
                let d_outputs = (0..values.len()).map(d_output).collect();
                let d_outputs = outputs(goldens.sequences.len(), d_outputs);
                let gradients = gradients(&model, &batch, Mode::Inference, &d_outputs);
                let values = values.into_iter().enumerate();
                let first = values.filter(|(index, _)| is_first_mode(*index));
                let first: Vec<f32> = first.map(|(_, value)| value).collect();
                (first, gradients.flat().to_vec())
            };
            // With mean pooling as a second mode, the last block computes all query tokens.
            let (some, some_gradients) = run(vec![pooling]);
            let (all, all_gradients) = run(vec![pooling, Pooling::Mean]);
            assert!(some == all, "{family}, {pooling:?}: the outputs differ");
            let difference = crate::fixture::max_difference(&some_gradients, &all_gradients);
            // As in `gradients_accumulate_over_batches`: the same sums in another order.
            let tolerance = 64.0 * f32::EPSILON * largest(&all_gradients);
            assert!(difference <= tolerance, "{family}, {pooling:?}: off by {difference}");
        }
    }
}

#[test]
fn gradients_accumulate_over_batches() {
    for (family, _) in FAMILIES {
        let (model, goldens) = (classifier(&device(1), family, &json!({})), Goldens::open(family));
        let d_logits = outputs(3, goldens.get("d_logits").to_vec());
        let all = batch(&goldens.sequences, &model);
        let expected = gradients(&model, &all, Mode::Inference, &d_logits).flat().to_vec();
        let (mut workspace, mut sum) = (Workspace::new(model.device()), zeros_like(&model));
        for (row, sequence) in goldens.sequences.iter().enumerate() {
            let one = batch(std::slice::from_ref(sequence), &model);
            model.forward(&one, Mode::Inference, true, &mut workspace);
            let d_output = outputs(1, d_logits.row(row).to_vec());
            model.backward(&d_output, &one, Mode::Inference, &mut workspace, &mut sum);
        }
        let difference = crate::fixture::max_difference(&sum.flat().to_vec(), &expected);
        // Three sums of up to 32 terms in another order differ by up to 32 epsilons of the largest
        // gradient; the backward pass of the blocks may amplify that by a factor of 2.
        let tolerance = 64.0 * f32::EPSILON * largest(&expected);
        assert!(
            difference <= tolerance,
            "{family}: off by {difference}, largest gradient {}",
            largest(&expected)
        );
    }
}
