//! How far whole models move when matrix products round their operands.
//!
//! The bound. A product of operands rounded at `u` is off by a sum of terms `w x d`, where each `d`
//! is at most `2 u` and of either sign. They add up as the terms of the product itself do, so the
//! error is at most about `2 u` times the size of the product. Norms keep what is between two
//! products at size 1 whatever came before, and the errors of different products do not know of each
//! other: `p` products in a row are off by `2 √p u` times the size of the result. Size is the largest
//! magnitude, and not less than 1 for activations.

use crate::fixture::{
    FAMILIES, Goldens, batch, classifier, largest, max_difference, outputs, zeros_like,
};
use rankforge_encoder::kernels::{Device, Isa, ParameterId, Precision};
use rankforge_encoder::{Architecture, HeadStage, Mode, Model, Workspace};
use serde_json::json;

const HALVES: [Precision; 2] = [Precision::BFloat16, Precision::Float16];

/// Products in a row in a block: queries, keys and values together, scores, the sum of values,
/// output, and the MLP's two.
const PER_BLOCK: usize = 6;

fn model(family: &str, isa: Isa, precision: Precision) -> Model {
    let device = Device::cpu_with(isa, 2).expect("an available instruction set");
    let mut model = classifier(&device, family, &json!({}));
    model.set_precision(precision);
    model
}

/// Products in a row from texts to the hidden states after so many blocks.
fn products_before(architecture: &Architecture, blocks: usize) -> usize {
    let encoder = &architecture.encoder;
    usize::from(encoder.embedding_size != encoder.hidden_size) + PER_BLOCK * blocks
}

/// Products in a row from texts to logits.
fn products(architecture: &Architecture) -> usize {
    let dense = |stage: &&HeadStage| matches!(stage, HeadStage::Dense { .. });
    let head = architecture.head.iter().filter(dense).count();
    products_before(architecture, architecture.encoder.blocks.len()) + head
}

fn bound(products: usize, precision: Precision) -> f32 {
    2.0 * (products as f32).sqrt() * precision.unit_roundoff() as f32
}

#[test]
fn hidden_states_and_logits_are_within_their_roundings_of_fp32() {
    for (family, _) in FAMILIES {
        for isa in Isa::available() {
            let full = model(family, isa, Precision::Float32);
            let batch = batch(&Goldens::open(family).sequences, &full);
            let logits = |model: &Model| {
                let mut workspace = Workspace::new(model.device());
                model.forward(&batch, Mode::Inference, false, &mut workspace).values
            };
            let (states, expected) = (full.hidden_states(&batch), logits(&full));
            for precision in HALVES {
                let half = model(family, isa, precision);
                let off = |found: &[f32], expected: &[f32], products: usize, what: &str| {
                    let limit = bound(products, precision) * largest(expected).max(1.0);
                    let difference = max_difference(found, expected);
                    assert!(
                        difference <= limit,
                        "{family} {isa} {precision}, {what}: off by {difference}, bound {limit}"
                    );
                };
                for (index, state) in half.hidden_states(&batch).iter().enumerate() {
                    let what = format!("hidden state {index}");
                    let products = products_before(full.architecture(), index);
                    off(&state.values, &states[index].values, products, &what);
                }
                let found = logits(&half);
                off(&found, &expected, products(full.architecture()), "logits");
                assert!(found != expected, "{family} {isa} {precision} rounds nothing");
            }
        }
    }
}

#[test]
fn gradients_are_within_their_roundings_of_fp32() {
    for (family, _) in FAMILIES {
        let goldens = Goldens::open(family);
        for isa in Isa::available() {
            let gradients = |model: &Model| {
                let batch = batch(&goldens.sequences, model);
                let d_outputs = outputs(3, goldens.get("d_logits").to_vec());
                let (mut workspace, mut gradients) =
                    (Workspace::new(model.device()), zeros_like(model));
                model.forward(&batch, Mode::Inference, true, &mut workspace);
                model.backward(&d_outputs, &batch, Mode::Inference, &mut workspace, &mut gradients);
                gradients
            };
            let full = model(family, isa, Precision::Float32);
            let expected = gradients(&full);
            for precision in HALVES {
                let found = gradients(&model(family, isa, precision));
                // Forward and back again.
                let bound = bound(2 * products(full.architecture()), precision);
                for (id, spec) in full.architecture().parameters.iter().enumerate() {
                    let id = ParameterId(id);
                    let (found, expected) = (found.view(id).to_vec(), expected.view(id).to_vec());
                    let difference = max_difference(&found, &expected);
                    let limit = bound * largest(&expected);
                    assert!(
                        difference <= limit,
                        "{family} {isa} {precision}, {}: off by {difference}, bound {limit}",
                        spec.name
                    );
                }
            }
        }
    }
}
