//! The optimizers of transformers: those that train, and why the others do not.

use serde::{Deserialize, Serialize};

/// The optimizer; names as in transformers, with the settings that its `Trainer` gives. Weight
/// decay and learning rates apply as they do with AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerNames {
    /// AdamW; `adamw_torch` is an alias.
    #[serde(alias = "adamw_torch")]
    AdamwTorchFused,
    /// Stochastic gradient descent: `momentum`, `dampening` and `nesterov` in `optim_args`.
    Sgd,
    /// Adafactor without relative steps and without a momentum: its state is a number for each row
    /// and each column of a matrix.
    Adafactor,
    /// Lion, with `adam_beta1` and `adam_beta2`. Learning rates are a third to a tenth of AdamW's.
    #[serde(rename = "lion_32bit")]
    Lion,
    /// Adagrad: `lr_decay` and `eps` (1e-10) in `optim_args`.
    Adagrad,
    /// RMSprop: `alpha` (0.99), `eps` (1e-8), `momentum` and `centered` in `optim_args`.
    Rmsprop,
}

const F32: &str = "the state of an optimizer is f32; adafactor needs next to none";
const NO_PAGES: &str = "there is no GPU memory to page";
const CPU: &str = "training runs on the CPU";
const NO_RANK: &str = "gradients are not projected to a lower rank; [lora] trains in less memory";
const COMPLETE: &str = "gradients are complete before a step, which their norm is needed for";
const NO_VARIANT: &str = "encoders are not trained with this variant of AdamW";
const SCHEDULE: &str = "lr_scheduler_type decides the learning rate";

/// The optimizers of transformers 5.23 that are refused, by the reason.
const REFUSED: [(&str, &[&str]); 8] = [
    (
        F32,
        &[
            "adamw_torch_4bit",
            "adamw_torch_8bit",
            "adamw_bnb_8bit",
            "adamw_8bit",
            "ademamix_8bit",
            "lion_8bit",
            "paged_adamw_8bit",
            "paged_ademamix_8bit",
            "paged_lion_8bit",
            "rmsprop_bnb_8bit",
        ],
    ),
    (
        "rmsprop has the same formula, with settings of its own",
        &["rmsprop_bnb", "rmsprop_bnb_32bit"],
    ),
    (NO_PAGES, &["paged_adamw_32bit", "paged_ademamix_32bit", "paged_lion_32bit"]),
    (CPU, &["adamw_torch_xla", "adamw_torch_npu_fused"]),
    (
        NO_RANK,
        &[
            "galore_adamw",
            "galore_adamw_8bit",
            "galore_adafactor",
            "galore_adamw_layerwise",
            "galore_adamw_8bit_layerwise",
            "galore_adafactor_layerwise",
            "apollo_adamw",
            "apollo_adamw_layerwise",
        ],
    ),
    (COMPLETE, &["lomo", "adalomo"]),
    (NO_VARIANT, &["adamw_anyprecision", "ademamix", "grokadamw", "stable_adamw"]),
    (SCHEDULE, &["schedule_free_radam", "schedule_free_adamw", "schedule_free_sgd"]),
];

/// What is expected in place of an optimizer that is none of [`OptimizerNames`], and why.
pub(super) fn expected_optimizer(name: &str) -> String {
    let known = "adamw_torch_fused, adamw_torch, sgd, adafactor, lion_32bit, adagrad or rmsprop";
    match REFUSED.iter().find(|(_, names)| names.contains(&name)) {
        Some((reason, _)) => format!("{known}: it is not supported, as {reason}"),
        None => known.to_owned(),
    }
}
