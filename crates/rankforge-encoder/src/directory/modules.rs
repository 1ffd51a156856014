//! The modules of sentence-transformers: which there are, their files, and the head stages they are.

use super::json;
use crate::{EncoderError, HeadStage, Reporter};
use rankforge_kernels::ops::{Activation, Pooling};
use serde_json::{Value, json};
use std::path::{Component, Path, PathBuf};

/// One line of `modules.json`.
pub(crate) struct ModuleEntry {
    /// Class, without the Python path before it.
    pub class: String,
    /// Where its files are.
    pub folder: PathBuf,
}

/// Reads `modules.json`; `None` when there is none.
///
/// # Errors
/// A malformed file, an empty list, a class from outside sentence-transformers, or a folder
/// outside the directory.
pub(crate) fn read_modules(directory: &Path) -> Result<Option<Vec<ModuleEntry>>, EncoderError> {
    let path = directory.join("modules.json");
    if !json::exists(&path)? {
        return Ok(None);
    }
    let value = json::parse(&json::read_bytes(&path)?, &path)?;
    let lines = value.as_array().filter(|lines| !lines.is_empty());
    let lines = lines
        .ok_or_else(|| json::file_error(&path, "expected a JSON array of at least one module"))?;
    let mut modules = Vec::new();
    for line in lines {
        let class = json::require_str(line, "type", &path)?;
        let Some(class) = class.strip_prefix("sentence_transformers.") else {
            return Err(json::field_error(
                &path,
                "type",
                "a class of sentence_transformers (custom modules are Python code)",
                line.get("type"),
            ));
        };
        let folder = Path::new(json::require_str(line, "path", &path)?);
        let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !folder.components().all(inside) {
            let expected = "a folder inside the model directory";
            return Err(json::field_error(&path, "path", expected, line.get("path")));
        }
        modules.push(ModuleEntry {
            class: class.rsplit('.').next().unwrap_or(class).to_owned(),
            folder: directory.join(folder),
        });
    }
    Ok(Some(modules))
}

/// A module after the first one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Module {
    Pooling { width: usize, modes: Vec<Pooling>, include_prompt: bool },
    Dense(Dense),
    LayerNorm { width: usize },
    Normalize,
    Dropout(f32),
}

/// `activation(W x + b)`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    pub inputs: usize,
    pub outputs: usize,
    pub bias: bool,
    pub activation: Activation,
    pub input_name: String,
    pub output_name: String,
    pub residual: bool,
}

/// The name under which sentence-transformers passes an embedding from module to module.
pub(crate) const EMBEDDING: &str = "sentence_embedding";

/// The name under which a cross-encoder finds its scores.
pub(crate) const SCORES: &str = "scores";

const POOLING_MODES: [(Pooling, &str, &str); 6] = [
    (Pooling::Cls, "cls", "pooling_mode_cls_token"),
    (Pooling::Max, "max", "pooling_mode_max_tokens"),
    (Pooling::Mean, "mean", "pooling_mode_mean_tokens"),
    (Pooling::MeanSqrtLen, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    (Pooling::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
    (Pooling::LastToken, "lasttoken", "pooling_mode_lasttoken"),
];

const ACTIVATIONS: [(Activation, &str); 6] = [
    (Activation::Identity, "torch.nn.modules.linear.Identity"),
    (Activation::Tanh, "torch.nn.modules.activation.Tanh"),
    (Activation::Relu, "torch.nn.modules.activation.ReLU"),
    (Activation::Gelu, "torch.nn.modules.activation.GELU"),
    (Activation::Sigmoid, "torch.nn.modules.activation.Sigmoid"),
    (Activation::Silu, "torch.nn.modules.activation.SiLU"),
];

impl Module {
    /// Reads one module's folder.
    ///
    /// # Errors
    /// A class that is not supported (the message lists those that are), or an unusable config.
    pub(crate) fn read(
        entry: &ModuleEntry,
        reporter: &dyn Reporter,
    ) -> Result<Module, EncoderError> {
        let path = entry.folder.join("config.json");
        let config = || json::read_object(&path);
        match entry.class.as_str() {
            "Pooling" => read_pooling(&config()?, &path),
            "Dense" => read_dense(&config()?, &path, reporter).map(Module::Dense),
            "LayerNorm" => Ok(Module::LayerNorm {
                width: json::require_positive(&config()?, "dimension", &path)?,
            }),
            "Normalize" => Ok(Module::Normalize),
            "Dropout" => read_dropout(&config()?, &path),
            "LogitScore" => Err(json::file_error(
                &entry.folder,
                "rerankers made of language models (LogitScore) are not supported",
            )),
            class => Err(json::file_error(
                &entry.folder,
                format!(
                    "module {class} is not supported here: expected Pooling, Dense, LayerNorm, \
                     Normalize or Dropout"
                ),
            )),
        }
    }

    /// The class's name, as in the names of module folders.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Module::Pooling { .. } => "Pooling",
            Module::Dense(_) => "Dense",
            Module::LayerNorm { .. } => "LayerNorm",
            Module::Normalize => "Normalize",
            Module::Dropout(_) => "Dropout",
        }
    }

    /// The class with its Python path.
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

    /// Whether it has parameters.
    pub(crate) fn has_weights(&self) -> bool {
        matches!(self, Module::Dense(_) | Module::LayerNorm { .. })
    }

    /// Its `config.json`.
    pub(crate) fn config(&self) -> Value {
        match self {
            Module::Pooling { width, modes, include_prompt } => {
                let name = |mode: &Pooling| {
                    POOLING_MODES
                        .iter()
                        .find(|(known, ..)| known == mode)
                        .expect("all are listed")
                        .1
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

    /// What it computes.
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

    /// Width it needs, where it says one.
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
        let activation = ACTIVATIONS.iter().find(|(known, _)| *known == self.activation);
        let mut config = json!({
            "in_features": self.inputs,
            "out_features": self.outputs,
            "bias": self.bias,
            "activation_function": activation.expect("only listed ones are read").1,
            "module_input_name": self.input_name,
            "module_output_name": self.output_name,
        });
        if self.residual {
            config["use_residual"] = json!(true);
        }
        config
    }
}

fn read_pooling(config: &Value, path: &Path) -> Result<Module, EncoderError> {
    let width = match config.get("embedding_dimension") {
        Some(_) => json::require_positive(config, "embedding_dimension", path)?,
        None => json::require_positive(config, "word_embedding_dimension", path)?,
    };
    let include_prompt = json::optional_bool(config, "include_prompt", path)?.unwrap_or(true);
    let modes = match config.get("pooling_mode") {
        Some(Value::Array(names)) if !names.is_empty() => {
            names.iter().map(|name| pooling_mode(name, path)).collect::<Result<_, _>>()?
        }
        Some(name) => vec![pooling_mode(name, path)?],
        None => {
            let mut modes = Vec::new();
            for (mode, _, flag) in POOLING_MODES {
                if json::optional_bool(config, flag, path)?.unwrap_or(false) {
                    modes.push(mode);
                }
            }
            if modes.is_empty() {
                modes.push(Pooling::Mean);
            }
            modes
        }
    };
    Ok(Module::Pooling { width, modes, include_prompt })
}

fn pooling_mode(name: &Value, path: &Path) -> Result<Pooling, EncoderError> {
    let known = POOLING_MODES.iter().find(|(_, known, _)| name == known);
    known.map(|(mode, ..)| *mode).ok_or_else(|| {
        let names: Vec<&str> = POOLING_MODES.iter().map(|(_, name, _)| *name).collect();
        json::field_error(path, "pooling_mode", &names.join(", "), Some(name))
    })
}

fn read_dense(config: &Value, path: &Path, reporter: &dyn Reporter) -> Result<Dense, EncoderError> {
    const FIELD: &str = "activation_function";
    let activation = match json::optional_str(config, FIELD, path)? {
        None => Activation::Tanh,
        Some(name) if !name.starts_with("torch.") => {
            reporter.warning(&format!(
                "{}: {FIELD} {name} is not one of torch; using Tanh, the default",
                path.display()
            ));
            Activation::Tanh
        }
        Some(name) => {
            let class = |name: &str| name.rsplit('.').next().map(str::to_owned);
            let known = ACTIVATIONS.iter().find(|(_, known)| class(known) == class(name));
            let names: Vec<&str> = ACTIVATIONS.iter().map(|(_, name)| *name).collect();
            known
                .ok_or_else(|| {
                    json::field_error(path, FIELD, &names.join(", "), config.get(FIELD))
                })?
                .0
        }
    };
    let name = |field| json::optional_str(config, field, path);
    let input_name = name("module_input_name")?.unwrap_or(EMBEDDING);
    let output_name = name("module_output_name")?.unwrap_or(input_name);
    let dense = Dense {
        inputs: json::require_positive(config, "in_features", path)?,
        outputs: json::require_positive(config, "out_features", path)?,
        bias: json::optional_bool(config, "bias", path)?.unwrap_or(true),
        activation,
        input_name: input_name.to_owned(),
        output_name: output_name.to_owned(),
        residual: json::optional_bool(config, "use_residual", path)?.unwrap_or(false),
    };
    Ok(dense)
}

fn read_dropout(config: &Value, path: &Path) -> Result<Module, EncoderError> {
    let probability = match config.get("dropout") {
        None => Some(0.2),
        Some(value) => value.as_f64().map(|probability| probability as f32),
    };
    let probability = probability.filter(|probability| (0.0..1.0).contains(probability));
    probability.map(Module::Dropout).ok_or_else(|| {
        json::field_error(path, "dropout", "a number from 0 to below 1", config.get("dropout"))
    })
}
