//! Checks how much the outputs and gradients of whole models change when matrix products round
//! their operands to half precision.
//!
//! The bound: let `u` be the unit roundoff. When the operands `w` and `x` of a product are rounded,
//! each term `w x` of its sums has a relative error of at most `2 u`, of either sign. The errors
//! add up like the terms themselves, so the error of a product is at most about `2 u` times the
//! size of the product. Layer norms keep the size of the values between products at 1. The errors
//! of different products are independent, so after `p` consecutive products the error is at most
//! about `2 sqrt(p) u` times the size of the result. "Size" is the largest absolute value, but at
//! least 1 for activations.

use crate::fixture::{
    FAMILIES, Goldens, batch, classifier, largest, max_difference, outputs, zeros_like,
};
use rankforge_encoder::kernels::{Device, Isa, ParameterId, Precision};
use rankforge_encoder::{Architecture, HeadStage, Mode, Model, Workspace};
use serde_json::json;

const HALVES: [Precision; 2] = [Precision::BFloat16, Precision::Float16];

/// Consecutive products in a block: the fused projection of queries, keys and values, the attention
/// scores, the weighted sum of values, the output projection, and the two linear layers of the MLP.
const PER_BLOCK: usize = 6;

fn model(family: &str, isa: Isa, precision: Precision) -> Model {
    let device = Device::cpu_with(isa, 2).expect("an available instruction set");
    let mut model = classifier(&device, family, &json!({}));
    model.set_precision(precision);
    model
}

/// Consecutive products from the embeddings to the hidden states after `blocks` blocks.
fn products_before(architecture: &Architecture, blocks: usize) -> usize {
    let encoder = &architecture.encoder;
    usize::from(encoder.embedding_size != encoder.hidden_size) + PER_BLOCK * blocks
}

/// Consecutive products from the embeddings to the logits.
fn products(architecture: &Architecture) -> usize {
    let dense = |stage: &&HeadStage| matches!(stage, HeadStage::Dense { .. });
    let head = architecture.head.iter().filter(dense).count();
    products_before(architecture, architecture.encoder.blocks.len()) + head
}

/// The bound for `products` consecutive products, relative to the size of the result.
fn bound(products: usize, precision: Precision) -> f32 {
    2.0 * (products as f32).sqrt() * precision.unit_roundoff() as f32
}

#[test]
fn hidden_states_and_logits_differ_from_fp32_by_at_most_the_rounding_bound() {
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
                let check = |found: &[f32], expected: &[f32], products: usize, what: &str| {
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
                    check(&state.values, &states[index].values, products, &what);
                }
                let found = logits(&half);
                check(&found, &expected, products(full.architecture()), "logits");
                assert!(found != expected, "{family} {isa} {precision}: the same logits as fp32");
            }
        }
    }
}

#[test]
fn gradients_differ_from_fp32_by_at_most_the_rounding_bound() {
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
                // A gradient depends on the products of the forward and of the backward pass.
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
