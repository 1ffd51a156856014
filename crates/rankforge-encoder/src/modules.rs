//! The modules of sentence-transformers after the first: what they are in files, and the stages of
//! the head that they become.

use crate::stages::HeadStage;
use rankforge_kernels::ops::{Activation, Pooling};
use serde_json::{Value, json};

/// A module after the first one, as read from its config.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Module {
    Pooling { width: usize, modes: Vec<Pooling>, include_prompt: bool },
    Dense(Dense),
    LayerNorm { width: usize },
    Normalize,
    Dropout(f32),
}

/// The module `Dense`: `activation(W x + b)`, plus the input when `residual` is set.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    pub inputs: usize,
    pub outputs: usize,
    pub bias: bool,
    pub activation: Activation,
    /// Name of the feature that the module reads; see [`EMBEDDING`].
    pub input_name: String,
    /// Name of the feature that the module writes.
    pub output_name: String,
    pub residual: bool,
}

/// The name of the feature in which sentence-transformers passes an embedding between modules.
pub(crate) const EMBEDDING: &str = "sentence_embedding";

/// The name of the feature from which a cross-encoder of sentence-transformers reads its scores.
pub(crate) const SCORES: &str = "scores";

/// Each pooling mode with its name in sentence-transformers, and with the boolean field that older
/// configs have instead.
pub const POOLING_MODES: [(Pooling, &str, &str); 6] = [
    (Pooling::Cls, "cls", "pooling_mode_cls_token"),
    (Pooling::Max, "max", "pooling_mode_max_tokens"),
    (Pooling::Mean, "mean", "pooling_mode_mean_tokens"),
    (Pooling::MeanSqrtLen, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    (Pooling::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
    (Pooling::LastToken, "lasttoken", "pooling_mode_lasttoken"),
];

/// The activations that a dense module may have, with their Python classes.
pub(crate) const ACTIVATIONS: [(Activation, &str); 6] = [
    (Activation::Identity, "torch.nn.modules.linear.Identity"),
    (Activation::Tanh, "torch.nn.modules.activation.Tanh"),
    (Activation::Relu, "torch.nn.modules.activation.ReLU"),
    (Activation::Gelu, "torch.nn.modules.activation.GELU"),
    (Activation::Sigmoid, "torch.nn.modules.activation.Sigmoid"),
    (Activation::Silu, "torch.nn.modules.activation.SiLU"),
];

impl Module {
    /// Name of the class without its Python module path.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Module::Pooling { .. } => "Pooling",
            Module::Dense(_) => "Dense",
            Module::LayerNorm { .. } => "LayerNorm",
            Module::Normalize => "Normalize",
            Module::Dropout(_) => "Dropout",
        }
    }

    /// Full name of the Python class in the newest layout.
    pub(crate) fn python_type(&self) -> &'static str {
        match self {
            Module::Pooling { .. } => {
                "sentence_transformers.sentence_transformer.modules.pooling.Pooling"
            }
            Module::Dense(_) => "sentence_transformers.base.modules.dense.Dense",
            Module::LayerNorm { .. } => {
                "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm"
            }
            Module::Normalize => "sentence_transformers.base.modules.normalize.Normalize",
            Module::Dropout(_) => {
                "sentence_transformers.sentence_transformer.modules.dropout.Dropout"
            }
        }
    }

    /// Subdirectory in which the module is saved: `1_Pooling` for the first one after the
    /// transformer, which has `index` 0.
    pub(crate) fn folder(&self, index: usize) -> String {
        format!("{}_{}", index + 1, self.class())
    }

    /// Whether the module has parameters.
    pub(crate) fn has_weights(&self) -> bool {
        matches!(self, Module::Dense(_) | Module::LayerNorm { .. })
    }

    /// The content of the module's `config.json`.
    pub(crate) fn config(&self) -> Value {
        match self {
            Module::Pooling { width, modes, include_prompt } => {
                let name = |mode: &Pooling| {
                    let entry = POOLING_MODES.iter().find(|(listed, ..)| listed == mode);
                    entry.expect("POOLING_MODES lists every mode").1
                };
                let mode = match modes.as_slice() {
                    [mode] => json!(name(mode)),
                    several => several.iter().map(name).collect(),
                };
                json!({
                    "embedding_dimension": width,
                    "pooling_mode": mode,
                    "include_prompt": include_prompt,
                })
            }
            Module::Dense(dense) => dense.config(),
            Module::LayerNorm { width } => json!({"dimension": width}),
            Module::Normalize => json!({
                "module_input_name": EMBEDDING, "module_output_name": EMBEDDING,
            }),
            Module::Dropout(probability) => json!({"dropout": probability}),
        }
    }

    /// The head stage that computes the module.
    pub(crate) fn stage(&self) -> HeadStage {
        match self {
            Module::Pooling { modes, include_prompt, .. } => {
                HeadStage::Pool { modes: modes.clone(), skip_prompt: !include_prompt }
            }
            Module::Dense(dense) => HeadStage::Dense {
                inputs: dense.inputs,
                outputs: dense.outputs,
                bias: dense.bias,
                activation: dense.activation,
                residual: dense.residual,
            },
            Module::LayerNorm { width } => {
                HeadStage::LayerNorm { width: *width, epsilon: 1e-5, bias: true }
            }
            Module::Normalize => HeadStage::Normalize,
            Module::Dropout(probability) => HeadStage::Dropout(*probability),
        }
    }

    /// Width of the input according to the module's config; `None` for modules of any width.
    pub(crate) fn width(&self) -> Option<usize> {
        match self {
            Module::Pooling { width, .. } | Module::LayerNorm { width } => Some(*width),
            Module::Dense(dense) => Some(dense.inputs),
            Module::Normalize | Module::Dropout(_) => None,
        }
    }
}

impl Dense {
    fn config(&self) -> Value {
        let activation = ACTIVATIONS.iter().find(|(listed, _)| *listed == self.activation);
        let mut config = json!({
            "in_features": self.inputs,
            "out_features": self.outputs,
            "bias": self.bias,
            "activation_function": activation.expect("only listed activations are read").1,
            "module_input_name": self.input_name,
            "module_output_name": self.output_name,
        });
        if self.residual {
            config["use_residual"] = json!(true);
        }
        config
    }
}
