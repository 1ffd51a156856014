//! Directories of adapters, as peft and sentence-transformers write them: `adapter_config.json`,
//! `adapter_model.safetensors` and the name of the base model.

use crate::error::EncoderError;
use crate::json;
use crate::lora::config::scale;
use crate::options::LoadOptions;
use crate::weights::Weights;
use regex::Regex;
use serde_json::Value;
use std::path::{Path, PathBuf};

pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";
pub(crate) const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

/// The field with the directory of the base model.
const BASE: &str = "base_model_name_or_path";

/// Fields of methods that compute something else than a low-rank product. They are unset where they
/// are false, null or empty.
const UNSUPPORTED: [(&str, &str); 15] = [
    ("use_dora", "weight-decomposed adapters (DoRA)"),
    ("use_qalora", "quantisation-aware adapters"),
    ("use_bdlora", "block-diagonal adapters"),
    ("lora_bias", "biases of adapters"),
    ("fan_in_fan_out", "transposed weights"),
    ("layer_replication", "replicated layers"),
    ("target_parameters", "adapters of parameters that are no module"),
    ("trainable_token_indices", "trained tokens"),
    ("alora_invocation_tokens", "activated adapters"),
    ("arrow_config", "routed adapters"),
    ("kasa_config", "KaSA"),
    ("velora_config", "VeLoRA"),
    ("monteclora_config", "MonteCLoRA"),
    ("megatron_config", "Megatron's layers"),
    ("loftq_config", "LoftQ, which changes the base model"),
];

/// The values of `init_lora_weights` that leave the base model as it is.
const INITIALISATIONS: [&str; 3] = ["gaussian", "orthogonal", "eva"];

/// An adapter and its base model.
pub(crate) struct AdapterFolder {
    folder: PathBuf,
    /// Directory of the base model's transformer.
    pub(crate) base: PathBuf,
    alpha: f64,
    use_rslora: bool,
    /// Patterns of names of modules, and their alpha.
    alphas: Vec<(Regex, f64)>,
}

/// The directory of the base model's transformer, for a directory with an adapter; `None` for
/// another one.
///
/// # Errors
/// As those of opening the model.
pub fn adapter_base(folder: &Path, options: &LoadOptions) -> Result<Option<PathBuf>, EncoderError> {
    let adapter = AdapterFolder::open(folder, options)?;
    Ok(adapter.map(|adapter| adapter.base))
}

impl AdapterFolder {
    /// Reads the config of the adapter in a directory; `None` where there is none. The base model
    /// is that of `options`, or else in the directory itself, as in transformers, or else the one
    /// that the config names: a directory, from the current one or from that of the adapter.
    ///
    /// # Errors
    /// A malformed or unsupported config, a base model that is not there or that is an adapter too,
    /// or a base model in `options` for a directory without an adapter.
    pub(crate) fn open(
        folder: &Path,
        options: &LoadOptions,
    ) -> Result<Option<AdapterFolder>, EncoderError> {
        let path = folder.join(ADAPTER_CONFIG);
        let Some(config) = json::read_optional_object(&path)? else {
            if let Some(base) = &options.base_model {
                let expected = format!("a directory with {ADAPTER_CONFIG} to go with it");
                let got = format!("{} for {}", base.display(), folder.display());
                return Err(EncoderError::argument("base_model", expected, got));
            }
            return Ok(None);
        };
        check_supported(&config, &path)?;
        let alpha = config.get("lora_alpha").and_then(Value::as_f64).ok_or_else(|| {
            json::field_error(&path, "lora_alpha", "a number", config.get("lora_alpha"))
        })?;
        Ok(Some(AdapterFolder {
            folder: folder.to_owned(),
            base: match options.base_model {
                None if json::exists(&folder.join("config.json"))? => folder.to_owned(),
                _ => base_folder(&config, &path, options)?,
            },
            alpha,
            use_rslora: json::truth(&config, "use_rslora").unwrap_or(false),
            alphas: alphas(&config, &path)?,
        }))
    }

    /// Opens the weights of the base model and those of the adapter.
    ///
    /// # Errors
    /// Files that are missing or malformed.
    pub(crate) fn weights(&self) -> Result<(Weights, Weights), EncoderError> {
        let file = self.folder.join(ADAPTER_WEIGHTS);
        if !json::exists(&file)? {
            let pickle = json::exists(&self.folder.join("adapter_model.bin"))?;
            let message = match pickle {
                true => format!(
                    "expected {ADAPTER_WEIGHTS}, got only adapter_model.bin, a pickle that may \
                     execute code when it is loaded; save the adapter again with a newer peft"
                ),
                false => format!("expected {ADAPTER_WEIGHTS} beside {ADAPTER_CONFIG}, got none"),
            };
            return Err(json::file_error(&self.folder, message));
        }
        Ok((Weights::open(&self.base)?, Weights::open_file(&file)?))
    }

    /// Factor of the output of the adapter of this rank beside a module.
    pub(super) fn scale(&self, module: &str, rank: usize) -> f32 {
        let own = self.alphas.iter().find(|(pattern, _)| pattern.is_match(module));
        scale(own.map_or(self.alpha, |(_, alpha)| *alpha), rank, self.use_rslora)
    }
}

/// Refuses methods that compute something else than LoRA.
fn check_supported(config: &Value, path: &Path) -> Result<(), EncoderError> {
    let method = json::require_str(config, "peft_type", path)?;
    if method != "LORA" {
        let expected = "LORA (no other method of peft is supported; merge the adapter in Python \
                        with merge_and_unload())";
        return Err(json::field_error(path, "peft_type", expected, config.get("peft_type")));
    }
    for (field, what) in UNSUPPORTED {
        if let Some(value) = config.get(field).filter(|value| json::is_true(value)) {
            let expected = format!(
                "no value, as {what} are not supported; merge the adapter in Python with \
                 merge_and_unload()"
            );
            return Err(json::field_error(path, field, &expected, Some(value)));
        }
    }
    const INITIALISATION: &str = "init_lora_weights";
    match config.get(INITIALISATION) {
        Some(Value::String(name)) if !INITIALISATIONS.contains(&name.as_str()) => {
            let expected = "true, false, gaussian, orthogonal or eva, as others change the base \
                            model too";
            Err(json::field_error(path, INITIALISATION, expected, config.get(INITIALISATION)))
        }
        _ => Ok(()),
    }
}

/// The directory with the `config.json` and the weights of the base model.
fn base_folder(
    config: &Value,
    path: &Path,
    options: &LoadOptions,
) -> Result<PathBuf, EncoderError> {
    let named = match &options.base_model {
        Some(base) => base.clone(),
        None => PathBuf::from(json::require_str(config, BASE, path)?),
    };
    let beside = path.parent().unwrap_or(path).join(&named);
    let candidates = [named.clone(), beside];
    let Some(base) = candidates.into_iter().find(|base| base.is_dir()) else {
        let message = format!(
            "the base model `{}` is no directory here: put it there, write its directory into the \
             field {BASE}, or merge the two with `rankforge merge-adapter --base-model DIR`",
            named.display()
        );
        return Err(json::file_error(path, message));
    };
    if json::exists(&base.join(ADAPTER_CONFIG))? {
        let message = "expected a whole model as the base of an adapter, got another adapter; \
                       merge that one first with `rankforge merge-adapter`";
        return Err(json::file_error(&base, message));
    }
    Ok(base)
}

/// `alpha_pattern`: patterns of ends of names of modules, and their alpha.
fn alphas(config: &Value, path: &Path) -> Result<Vec<(Regex, f64)>, EncoderError> {
    const FIELD: &str = "alpha_pattern";
    let error = || {
        let expected = "an object of numbers by regular expression";
        json::field_error(path, FIELD, expected, config.get(FIELD))
    };
    let patterns = match config.get(FIELD) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(patterns) => patterns.as_object().ok_or_else(error)?,
    };
    let entry = |(pattern, alpha): (&String, &Value)| {
        let pattern = Regex::new(&format!("^(?:.*\\.)?(?:{pattern})$")).ok()?;
        Some((pattern, alpha.as_f64()?))
    };
    patterns.iter().map(entry).collect::<Option<Vec<_>>>().ok_or_else(error)
}
