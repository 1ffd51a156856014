//! Every model on the reference device, whose memory no host slice can reach, so that a shortcut
//! through host memory in model code fails; and the CPU device's outputs and gradients against it.
//!
//! The reference device sums in f64, so the two differ by the rounding errors of the CPU device.
//! Outputs are the results of some hundred sums of up to 144 terms of magnitude 1, whose rounding
//! errors have random signs and mostly cancel: 32 epsilons of the largest value. Gradients depend
//! on the sums of both passes, and those of a matrix may cancel: 128 epsilons of the largest of
//! the matrix.

use crate::adapters;
use crate::common::{assert_rows, bits, expected, fixture, pairs, texts};
use crate::fixture::{
    FAMILIES, Goldens, batch, classifier, device, largest, max_difference, outputs,
};
use crate::gradients::{TRAINING, dropout, every_head_stage, gradients, prompted};
use rankforge_encoder::kernels::ops::Pooling;
use rankforge_encoder::kernels::{Arena, Device, Indices, ParameterId, Ragged};
use rankforge_encoder::{
    Architecture, Batch, CrossEncoder, DualEncoder, Embed, HeadStage, LoadOptions, Mode, Model,
    Outputs, TextModel, Workspace,
};
use serde_json::json;

const OUTPUTS: f32 = 32.0 * f32::EPSILON;
const GRADIENTS: f32 = 128.0 * f32::EPSILON;

/// The reference device, and the CPU device that is compared with it.
fn devices() -> [Device; 2] {
    [Device::reference().expect("one thread starts"), device(2)]
}

/// What a model computes of a batch.
struct Computed {
    model: Model,
    /// Outputs of inference, which keeps nothing and takes some shorter ways.
    inference: Outputs,
    /// Outputs and gradients of a training step.
    training: Outputs,
    gradients: Arena,
}

fn compute(model: Model, batch: &Batch, d_outputs: &Outputs) -> Computed {
    let mut workspace = Workspace::new(model.device());
    let inference = model.forward(batch, Mode::Inference, false, &mut workspace);
    let training = model.forward(batch, TRAINING, true, &mut workspace);
    let gradients = gradients(&model, batch, TRAINING, d_outputs);
    Computed { model, inference, training, gradients }
}

/// Compares what `run` computes on the reference device and on the CPU device.
fn check(name: &str, run: impl Fn(&Device) -> Computed) {
    let [reference, cpu] = devices().map(|device| run(&device));
    for (what, expected, found) in [
        ("inference", &reference.inference, &cpu.inference),
        ("training", &reference.training, &cpu.training),
    ] {
        let difference = max_difference(&found.values, &expected.values);
        let allowed = OUTPUTS * largest(&expected.values).max(1.0);
        assert!(difference <= allowed, "{name}, {what}: off by {difference}, allowed {allowed}");
    }
    let mut compared = 0;
    for (id, spec) in cpu.model.architecture().parameters.iter().enumerate() {
        let id = ParameterId(id);
        assert_eq!(cpu.gradients.has(id), reference.gradients.has(id), "{name}, {}", spec.name);
        if cpu.gradients.has(id) {
            let found = cpu.gradients.view(id).to_vec();
            let expected = reference.gradients.view(id).to_vec();
            let difference = max_difference(&found, &expected);
            let allowed = GRADIENTS * largest(&expected);
            assert!(
                difference <= allowed,
                "{name}, {}: off by {difference}, allowed {allowed}",
                spec.name
            );
            compared += usize::from(largest(&expected) > 0.0);
        }
    }
    assert!(compared > 0, "{name}: no gradient was compared");
}

#[test]
fn every_family_computes_the_same_as_on_the_reference_device() {
    for (family, _) in FAMILIES {
        let goldens = Goldens::open(family);
        let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
        check(family, |device| {
            let model = classifier(device, family, &dropout());
            let batch = batch(&goldens.sequences, &model);
            compute(model, &batch, &d_outputs)
        });
        let [reference, cpu] = devices().map(|device| {
            let model = classifier(&device, family, &json!({}));
            model.hidden_states(&batch(&goldens.sequences, &model))
        });
        for (index, (expected, found)) in reference.iter().zip(&cpu).enumerate() {
            let difference = max_difference(&found.values, &expected.values);
            let allowed = OUTPUTS * largest(&expected.values).max(1.0);
            assert!(difference <= allowed, "{family}, hidden state {index}: off by {difference}");
        }
    }
}

#[test]
fn adapters_and_frozen_parameters_compute_the_same_as_on_the_reference_device() {
    for (family, _) in FAMILIES {
        let goldens = Goldens::open(family);
        let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
        type Change = fn(&mut Model);
        let adapted: Change = |model| {
            adapters::adapt(model);
            adapters::disturb(model);
        };
        let biases: Change =
            |model| model.set_trainable(|name| name.ends_with(".bias")).expect("whole matrices");
        for (what, change) in [("adapters", adapted), ("biases", biases)] {
            check(&format!("{family}, {what}"), |device| {
                let mut model = classifier(device, family, &dropout());
                change(&mut model);
                let batch = batch(&goldens.sequences, &model);
                compute(model, &batch, &d_outputs)
            });
        }
    }
}

#[test]
fn every_head_stage_computes_the_same_as_on_the_reference_device() {
    check("head", |device| {
        let model = Model::new(device, every_head_stage(), 9);
        let (batch, d_outputs) = prompted(&model);
        compute(model, &batch, &d_outputs)
    });
}

#[test]
fn a_static_embedding_computes_the_same_as_on_the_reference_device() {
    for mode in [Pooling::Mean, Pooling::Max, Pooling::WeightedMean] {
        let mut architecture = Architecture::static_embedding(9, 6, "", "embedding.weight");
        architecture.push_stage(HeadStage::Pool { modes: vec![mode], skip_prompt: false }, "");
        architecture.push_stage(HeadStage::Normalize, "");
        check(&format!("static, {mode:?}"), |device| {
            let model = Model::new(device, architecture.clone(), 4);
            let batch = Batch {
                ragged: Ragged::new(device, [3, 1, 4]),
                ids: Indices::new(device, &[3, 8, 3, 0, 5, 1, 7, 3]),
                type_ids: None,
                positions: None,
                prompt_tokens: None,
                layers: Vec::new(),
            };
            let d_outputs = outputs(3, (0..18).map(|index| (index as f32).sin()).collect());
            compute(model, &batch, &d_outputs)
        });
    }
}

#[test]
fn model_directories_open_apply_and_save_on_the_reference_device() {
    let (expected, folder) = (expected(), tempfile::tempdir().expect("temporary directory"));
    let [reference, cpu] = devices().map(|device| LoadOptions::new(&device));
    for name in ["st_v6", "static_v6", "model2vec"] {
        let open =
            |options: &LoadOptions| DualEncoder::open_with(fixture(name), options).expect("model");
        let (mut model, other) = (open(&reference), open(&cpu));
        let embeddings = model.encode(&texts(&expected["texts"])).expect("embeddings");
        assert_rows(&embeddings, &expected["embeddings"][name]);
        assert_eq!(
            model.fingerprint().expect("hash"),
            other.fingerprint().expect("hash"),
            "{name}"
        );
        let path = folder.path().join(name);
        model.save(&path, None).expect("saved");
        model.model_mut().parameters_mut().flat_mut().fill(0.5);
        model.load_parameters(&path).expect("read");
        assert_eq!(bits(model.model()), bits(other.model()), "{name}");
    }
    for name in ["ce_v6", "ce_modular"] {
        let model = CrossEncoder::open_with(fixture(name), &reference).expect("model");
        let scores = model.predict(&pairs(&expected)).expect("scores");
        assert_rows(&scores, &expected["scores"][name]);
    }
}
