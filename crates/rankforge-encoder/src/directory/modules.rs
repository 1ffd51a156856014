//! The modules of sentence-transformers: the list in `modules.json`, the config of each module, and
//! the head stage that computes it.

use crate::error::EncoderError;
use crate::json;
use crate::modules::{ACTIVATIONS, Dense, EMBEDDING, Module, POOLING_MODES};
use rankforge_base::Reporter;
use rankforge_kernels::ops::{Activation, Pooling};
use serde_json::{Value, json};
use std::path::{Component, Path, PathBuf};

/// One entry of `modules.json`.
pub(crate) struct ModuleEntry {
    /// Name of the class without its Python module path, such as `Pooling`.
    pub class: String,
    /// Directory of the module's files.
    pub folder: PathBuf,
}

/// Reads `modules.json`; `None` when it does not exist.
///
/// # Errors
/// A malformed file, an empty list, a class that is not of sentence-transformers, or a path that
/// leads out of the model directory.
pub(crate) fn read_modules(directory: &Path) -> Result<Option<Vec<ModuleEntry>>, EncoderError> {
    let path = directory.join("modules.json");
    if !json::exists(&path)? {
        return Ok(None);
    }
    let value = json::parse(&json::read_bytes(&path)?, &path)?;
    let entries = value.as_array().filter(|entries| !entries.is_empty());
    let entries = entries
        .ok_or_else(|| json::file_error(&path, "expected a JSON array of at least one module"))?;
    let mut modules = Vec::new();
    for entry in entries {
        let class = json::require_str(entry, "type", &path)?;
        let Some(class) = class.strip_prefix("sentence_transformers.") else {
            return Err(json::field_error(
                &path,
                "type",
                "a class of sentence_transformers (custom modules are Python code, which is not \
                 executed)",
                entry.get("type"),
            ));
        };
        let folder = Path::new(json::require_str(entry, "path", &path)?);
        let is_inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
        if !folder.components().all(is_inside) {
            let expected = "a path inside the model directory";
            return Err(json::field_error(&path, "path", expected, entry.get("path")));
        }
        modules.push(ModuleEntry {
            class: class.rsplit('.').next().unwrap_or(class).to_owned(),
            // `join` with an empty path would append a slash, which error messages would show.
            folder: match folder.as_os_str().is_empty() {
                true => directory.to_owned(),
                false => directory.join(folder),
            },
        });
    }
    Ok(Some(modules))
}

impl Module {
    /// Reads the config of a module.
    ///
    /// # Errors
    /// An unsupported class (the message lists the supported ones), or a config that is missing,
    /// malformed or has unusable fields.
    pub(crate) fn read(
        entry: &ModuleEntry,
        reporter: &dyn Reporter,
    ) -> Result<Module, EncoderError> {
        let path = entry.folder.join("config.json");
        let config = || json::read_object(&path);
        // Modules that need no settings need no config either.
        let optional = || -> Result<Value, EncoderError> {
            Ok(json::read_optional_object(&path)?.unwrap_or_else(|| json!({})))
        };
        match entry.class.as_str() {
            "Pooling" => read_pooling(&config()?, &path),
            "Dense" => read_dense(&config()?, &path, reporter).map(Module::Dense),
            "LayerNorm" => {
                let config = config()?;
                json::check_fields(&config, &["dimension"], &path)?;
                Ok(Module::LayerNorm { width: json::require_size(&config, "dimension", &path)? })
            }
            "Normalize" => read_normalize(&optional()?, &path),
            "Dropout" => read_dropout(&optional()?, &path),
            "LogitScore" => Err(json::file_error(
                &entry.folder,
                "expected an encoder, got a causal language model (LogitScore), which is not \
                 supported",
            )),
            class => Err(json::file_error(
                &entry.folder,
                format!(
                    "expected a module of class Pooling, Dense, LayerNorm, Normalize or Dropout, \
                     got {class}, which is not supported after the first module"
                ),
            )),
        }
    }
}

fn read_pooling(config: &Value, path: &Path) -> Result<Module, EncoderError> {
    let mut known =
        vec!["embedding_dimension", "word_embedding_dimension", "pooling_mode", "include_prompt"];
    known.extend(POOLING_MODES.map(|(_, _, flag)| flag));
    json::check_fields(config, &known, path)?;
    let width = match config.get("embedding_dimension") {
        Some(_) => json::require_size(config, "embedding_dimension", path)?,
        None => json::require_size(config, "word_embedding_dimension", path)?,
    };
    let include_prompt = json::truth(config, "include_prompt").unwrap_or(true);
    let modes = match config.get("pooling_mode") {
        Some(Value::Array(names)) if !names.is_empty() => {
            names.iter().map(|name| pooling_mode(name, path)).collect::<Result<_, _>>()?
        }
        Some(name) => vec![pooling_mode(name, path)?],
        None => {
            let mut modes = Vec::new();
            for (mode, _, flag) in POOLING_MODES {
                if json::truth(config, flag).unwrap_or(false) {
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
    let entry = POOLING_MODES.iter().find(|(_, listed, _)| name == listed);
    entry.map(|(mode, ..)| *mode).ok_or_else(|| {
        let names: Vec<&str> = POOLING_MODES.iter().map(|(_, name, _)| *name).collect();
        let expected = format!("one of {}", names.join(", "));
        json::field_error(path, "pooling_mode", &expected, Some(name))
    })
}

/// The fields of a Dense module's config. sentence-transformers ignores others, with a warning.
const DENSE_FIELDS: [&str; 9] = [
    "in_features",
    "out_features",
    "bias",
    "activation_function",
    "init_weight",
    "init_bias",
    "module_input_name",
    "module_output_name",
    "use_residual",
];

fn read_dense(config: &Value, path: &Path, reporter: &dyn Reporter) -> Result<Dense, EncoderError> {
    const FIELD: &str = "activation_function";
    let name = match config.get(FIELD) {
        None => None,
        Some(_) => Some(json::require_str(config, FIELD, path)?),
    };
    let activation = match name {
        None => Activation::Tanh,
        Some(name) if !name.starts_with("torch.") => {
            reporter.warning(&format!(
                "{}: {FIELD} {name} is not a class of torch; using the default, Tanh",
                path.display()
            ));
            Activation::Tanh
        }
        Some(name) => {
            let class = |name: &str| name.rsplit('.').next().map(str::to_owned);
            let entry = ACTIVATIONS.iter().find(|(_, listed)| class(listed) == class(name));
            let Some((activation, _)) = entry else {
                let names: Vec<&str> = ACTIVATIONS.iter().map(|(_, name)| *name).collect();
                let expected = format!("one of {}", names.join(", "));
                return Err(json::field_error(path, FIELD, &expected, config.get(FIELD)));
            };
            *activation
        }
    };
    let name = |field| json::optional_str(config, field, path);
    let input_name = name("module_input_name")?.unwrap_or(EMBEDDING);
    let output_name = name("module_output_name")?.unwrap_or(input_name);
    let dense = Dense {
        inputs: json::require_size(config, "in_features", path)?,
        outputs: json::require_size(config, "out_features", path)?,
        bias: json::truth(config, "bias").unwrap_or(true),
        activation,
        input_name: input_name.to_owned(),
        output_name: output_name.to_owned(),
        residual: json::truth(config, "use_residual").unwrap_or(false),
    };
    if let Err(error) = json::check_fields(config, &DENSE_FIELDS, path) {
        reporter.warning(&format!("{error}; ignored"));
    }
    Ok(dense)
}

/// A module Normalize computes only what it does to embeddings; with other names it is for the
/// vectors of tokens, or has no effect.
fn read_normalize(config: &Value, path: &Path) -> Result<Module, EncoderError> {
    for field in ["module_input_name", "module_output_name"] {
        if json::optional_str(config, field, path)?.is_some_and(|name| name != EMBEDDING) {
            let expected = format!("\"{EMBEDDING}\"");
            return Err(json::field_error(path, field, &expected, config.get(field)));
        }
    }
    Ok(Module::Normalize)
}

fn read_dropout(config: &Value, path: &Path) -> Result<Module, EncoderError> {
    json::check_fields(config, &["dropout"], path)?;
    let probability = match config.get("dropout") {
        None => Some(0.2),
        Some(value) => value.as_f64().map(|probability| probability as f32),
    };
    let probability = probability.filter(|probability| (0.0..1.0).contains(probability));
    probability.map(Module::Dropout).ok_or_else(|| {
        json::field_error(path, "dropout", "a number in [0, 1)", config.get("dropout"))
    })
}
