//! Building losses by name from settings, as recipes do.

use crate::support::message;
use rankforge::Error;
use rankforge::losses::{
    CROSS_ENCODER_LOSSES, DUAL_ENCODER_LOSSES, Loss, cross_encoder_loss, dual_encoder_loss, names,
};
use serde_json::{Value, json};

fn build(name: &str, options: Value) -> Result<Box<dyn Loss>, Error> {
    cross_encoder_loss(name, options.as_object().unwrap())
}

fn build_dual(name: &str, options: Value) -> Result<Box<dyn Loss>, Error> {
    dual_encoder_loss(name, options.as_object().unwrap())
}

#[test]
fn losses_are_built_by_name() {
    let config = |name, options| build(name, options).unwrap().config();
    assert_eq!(
        config("BinaryCrossEntropyLoss", json!({ "pos_weight": 5, "activation_fn": "Sigmoid" })),
        json!({ "activation_fn": "torch.nn.modules.activation.Sigmoid", "pos_weight": 5.0 })
    );
    assert_eq!(
        config("MultipleNegativesRankingLoss", json!({})),
        json!({
            "scale": 10.0,
            "num_negatives": 4,
            "activation_fn": "torch.nn.modules.activation.Sigmoid",
        })
    );
    let options = json!({
        "num_negatives": "none",
        "scale": 20,
        "activation_fn": "torch.nn.modules.linear.Identity",
        "mini_batch_size": 8,
    });
    assert_eq!(
        config("CachedMultipleNegativesRankingLoss", options),
        json!({
            "scale": 20.0,
            "num_negatives": null,
            "activation_fn": "torch.nn.modules.linear.Identity",
            "mini_batch_size": 8,
        })
    );
    assert_eq!(
        config("MultipleNegativesRankingLoss", json!({ "activation_fn": null }))["activation_fn"],
        json!(null)
    );
    assert_eq!(
        build_dual("CachedMultipleNegativesRankingLoss", json!({ "mini_batch_size": 8 }))
            .unwrap()
            .config(),
        json!({
            "scale": 20.0,
            "similarity_fct": "cos_sim",
            "directions": ["query_to_doc"],
            "partition_mode": "joint",
            "mini_batch_size": 8,
        })
    );
}

#[test]
fn a_table_lists_its_losses() {
    assert_eq!(
        names(CROSS_ENCODER_LOSSES),
        [
            "BinaryCrossEntropyLoss",
            "MultipleNegativesRankingLoss",
            "CachedMultipleNegativesRankingLoss",
        ]
    );
    assert_eq!(
        names(DUAL_ENCODER_LOSSES),
        ["MultipleNegativesRankingLoss", "CachedMultipleNegativesRankingLoss"]
    );
}

#[test]
fn errors_name_unknown_losses_and_invalid_settings() {
    for (name, options, part) in [
        ("CoSENTLoss", json!({}), "BinaryCrossEntropyLoss, MultipleNegativesRankingLoss"),
        ("BinaryCrossEntropyLoss", json!({ "pos_weights": 1 }), "unknown field `pos_weights`"),
        ("BinaryCrossEntropyLoss", json!({ "pos_weight": -1 }), "pos_weight"),
        ("BinaryCrossEntropyLoss", json!({ "activation_fn": "GELU" }), "Identity, Sigmoid or Tanh"),
        ("MultipleNegativesRankingLoss", json!({ "num_negatives": 0 }), "num_negatives"),
        ("MultipleNegativesRankingLoss", json!({ "num_negatives": -2 }), "got -2"),
        ("CachedMultipleNegativesRankingLoss", json!({ "mini_batch_size": 0 }), "mini_batch_size"),
        (
            "CachedMultipleNegativesRankingLoss",
            json!({ "mini_batch": 4 }),
            "unknown field `mini_batch`, expected one of `num_negatives`, `scale`, \
             `activation_fn`, or `mini_batch_size`",
        ),
    ] {
        let text = message(build(name, options));
        assert!(text.contains(part), "{text}");
    }
}
