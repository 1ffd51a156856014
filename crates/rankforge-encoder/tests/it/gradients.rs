//! Gradients by themselves: finite differences with dropout on, accumulation, no parameter without one.

use crate::fixture::{FAMILIES, Goldens, batch, classifier, device, largest, outputs, zeros_like};
use rankforge_encoder::kernels::ops::{Activation, Pooling};
use rankforge_encoder::kernels::{Arena, ParameterId};
use rankforge_encoder::{Architecture, Batch, HeadStage, Mode, Model, Outputs, Task, Workspace};
use serde_json::{Value, json};
use std::path::Path;

const TRAINING: Mode = Mode::Training { seed: 11, step: 2, part: 0 };

/// Every dropout of every family on.
fn dropout() -> Value {
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

fn gradients(model: &Model, batch: &Batch, mode: Mode, d_outputs: &Outputs) -> Arena {
    let (mut workspace, mut gradients) = (Workspace::new(model.device()), zeros_like(model));
    model.forward(batch, mode, true, &mut workspace);
    model.backward(d_outputs, batch, mode, &mut workspace, &mut gradients);
    gradients
}

/// Compares the gradient of `Σ outputs · d_outputs` with central differences along a fixed
/// direction, of each matrix of parameters by itself.
fn check_directions(name: &str, mut model: Model, batch: &Batch, mode: Mode, d_outputs: &Outputs) {
    let gradients = gradients(&model, batch, mode, d_outputs);
    let mut workspace = Workspace::new(model.device());
    let original = model.parameters().flat().to_vec();
    let specs = model.architecture().parameters.clone();
    for (id, spec) in specs.iter().enumerate() {
        let gradient = gradients.view(ParameterId(id)).to_vec();
        // Along the gradient itself the expected slope is its length: no cancellation hides a mistake.
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
        // Two step widths: Richardson's combination leaves an error of the fourth order.
        let step = 2e-3;
        let mut slope = |step: f64| (value_at(step) - value_at(-step)) / (2.0 * step);
        let (wide, narrow) = (slope(2.0 * step), slope(step));
        let difference = ((4.0 * narrow - wide) / 3.0 - length).abs();
        // Rounding of f32 outputs near 1 (about 16 epsilons through the blocks) over the step, and
        // what is left of the curvature.
        let tolerance = 16.0 * f64::from(f32::EPSILON) / step + 0.01 * length;
        assert!(
            difference <= tolerance,
            "{name}, {}: slope {narrow} (step {step}), {wide} (twice), gradient {length}",
            spec.name
        );
    }
}

#[test]
fn every_family_agrees_with_finite_differences_under_dropout() {
    for (family, _) in FAMILIES {
        let (model, goldens) = (classifier(&device(2), family, &dropout()), Goldens::open(family));
        let batch = batch(&goldens.sequences, &model);
        let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
        check_directions(family, model, &batch, TRAINING, &d_outputs);
    }
}

#[test]
fn every_head_stage_agrees_with_finite_differences() {
    let fields = crate::fixture::config("bert-base");
    let task = Task::FeatureExtraction;
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
    let model = Model::new(&device(2), architecture, 9);
    let goldens = Goldens::open("bert");
    let mut batch = batch(&goldens.sequences, &model);
    batch.prompt_tokens = 2;
    let d_outputs = outputs(3, (0..12).map(|index| (index as f32).sin()).collect());
    check_directions("head", model, &batch, TRAINING, &d_outputs);
}

#[test]
fn the_token_that_a_head_reads_needs_no_other_to_ask() {
    for (family, _) in FAMILIES {
        let goldens = Goldens::open(family);
        for pooling in [Pooling::Cls, Pooling::LastToken] {
            let run = |modes: Vec<Pooling>| {
                let (config, task) = (crate::fixture::config(family), Task::FeatureExtraction);
                let mut architecture =
                    Architecture::from_config(&config, Path::new("config.json"), &task)
                        .expect("fixture");
                let (count, hidden) = (modes.len(), architecture.encoder.hidden_size);
                architecture.push_stage(HeadStage::Pool { modes, skip_prompt: false }, "");
                let model = Model::new(&device(2), architecture, 9);
                let batch = batch(&goldens.sequences, &model);
                let mut workspace = Workspace::new(model.device());
                let values = model.forward(&batch, Mode::Inference, false, &mut workspace).values;
                let first = |index: usize| index % (count * hidden) < hidden;
                let row = |index: usize| index / (count * hidden);
                let weight = |index: usize| match first(index) {
                    true => ((row(index) * hidden + index % hidden) as f32).sin(),
                    false => 0.0,
                };
                let weights = (0..values.len()).map(weight).collect();
                let weights = outputs(goldens.sequences.len(), weights);
                let gradients = gradients(&model, &batch, Mode::Inference, &weights);
                let kept = values.into_iter().enumerate().filter(|(index, _)| first(*index));
                let kept: Vec<f32> = kept.map(|(_, value)| value).collect();
                (kept, gradients.flat().to_vec())
            };
            // A second pooling without a gradient makes the last block compute all tokens.
            let (alone, among) = (run(vec![pooling]), run(vec![pooling, Pooling::Mean]));
            assert!(alone.0 == among.0, "{family}, {pooling:?}: other outputs");
            let difference = crate::fixture::max_difference(&alone.1, &among.1);
            // As for gradients that add up: the same sums in another order.
            let tolerance = 64.0 * f32::EPSILON * largest(&among.1);
            assert!(difference <= tolerance, "{family}, {pooling:?}: off by {difference}");
        }
    }
}

#[test]
fn gradients_add_up() {
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
        // Three sums of up to 32 terms in another order: 32 epsilons of the largest, doubled by
        // what the blocks behind amplify.
        let tolerance = 64.0 * f32::EPSILON * largest(&expected);
        assert!(
            difference <= tolerance,
            "{family}: off by {difference}, of {}",
            largest(&expected)
        );
    }
}
