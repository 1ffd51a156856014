//! The config of sentence-transformers' module Transformer, `sentence_bert_config.json`.

use crate::error::EncoderError;
use crate::json;
use rankforge_base::Reporter;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// Names under which versions of sentence-transformers have saved the config of the module
/// Transformer.
const MODULE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The fields that are read, or that say nothing about a transformer of texts.
const FIELDS: [&str; 17] = [
    "transformer_task",
    "modality_config",
    "module_output_name",
    "max_seq_length",
    "do_lower_case",
    "query_length",
    "document_length",
    "query_expansion",
    "processing_kwargs",
    "model_kwargs",
    "model_args",
    "processor_kwargs",
    "tokenizer_args",
    "config_kwargs",
    "config_args",
    "unpad_inputs",
    "tokenizer_name_or_path",
];

/// An argument that sentence-transformers ignores in files: whether their code may be executed.
const TRUST: &str = "trust_remote_code";

/// The content of `sentence_bert_config.json`, the config of the module Transformer.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModuleConfig {
    /// The file, for error messages.
    pub path: PathBuf,
    /// `transformer_task`.
    pub task: Option<String>,
    /// The maximum length, and the field it is from.
    pub max_seq_length: Option<(usize, &'static str)>,
    pub do_lower_case: bool,
    /// Fields that replace those of `config.json`.
    pub config_kwargs: Map<String, Value>,
}

impl ModuleConfig {
    /// Reads the module config in a directory; the default when there is none.
    ///
    /// # Errors
    /// A malformed file, or one that requires an unsupported feature, such as inputs other than
    /// text.
    pub(crate) fn read(
        folder: &Path,
        reporter: &dyn Reporter,
    ) -> Result<ModuleConfig, EncoderError> {
        for name in MODULE_CONFIGS {
            let path = folder.join(name);
            if let Some(config) = json::read_optional_object(&path)? {
                return ModuleConfig::from_json(&config, &path, reporter);
            }
        }
        Ok(ModuleConfig::default())
    }

    fn from_json(
        config: &Value,
        path: &Path,
        reporter: &dyn Reporter,
    ) -> Result<ModuleConfig, EncoderError> {
        if let Some(modalities) = config.get("modality_config")
            && modalities.get("text").is_none()
        {
            let expected =
                "an entry \"text\" (chat templates and inputs other than text are not supported)";
            return Err(json::field_error(path, "modality_config", expected, Some(modalities)));
        }
        for field in ["query_length", "document_length", "query_expansion"] {
            if config.get(field).is_some_and(|value| !value.is_null() && value != false) {
                let expected = "no value, null or false (this feature is not supported)";
                return Err(json::field_error(path, field, expected, config.get(field)));
            }
        }
        for field in ["processing_kwargs", "model_kwargs"] {
            if let Some(value) = arguments(config, field).filter(|value| json::is_true(value)) {
                let path = path.display();
                reporter.warning(&format!("{path}: {field} is not supported; ignoring {value}"));
            }
        }
        for field in config.as_object().into_iter().flat_map(Map::keys) {
            if !FIELDS.contains(&field.as_str()) {
                let path = path.display();
                reporter.warning(&format!("{path}: unknown field `{field}`, ignored"));
            }
        }
        if let Some(value) = config.get("tokenizer_name_or_path").filter(|value| !value.is_null()) {
            let expected = "no value or null, as the tokenizer is that of the model directory";
            return Err(json::field_error(path, "tokenizer_name_or_path", expected, Some(value)));
        }
        let max_seq_length = json::optional_usize(config, "max_seq_length", path)?;
        let from_tokenizer = read_processor_kwargs(config, path, reporter)?;
        let config_kwargs = match arguments(config, "config_kwargs") {
            None => Map::new(),
            Some(Value::Object(fields)) => {
                let fields = fields.iter().filter(|(name, _)| *name != TRUST);
                fields.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            other => return Err(json::field_error(path, "config_kwargs", "an object", other)),
        };
        Ok(ModuleConfig {
            path: path.to_owned(),
            task: json::optional_str(config, "transformer_task", path)?.map(str::to_owned),
            max_seq_length: match from_tokenizer {
                Some(length) => Some((length, "processor_kwargs.model_max_length")),
                None => max_seq_length.map(|length| (length, "max_seq_length")),
            },
            do_lower_case: json::truth(config, "do_lower_case").unwrap_or(false),
            config_kwargs,
        })
    }
}

/// The maximum length in `processor_kwargs`, which takes precedence over `max_seq_length`.
fn read_processor_kwargs(
    config: &Value,
    path: &Path,
    reporter: &dyn Reporter,
) -> Result<Option<usize>, EncoderError> {
    const FIELD: &str = "processor_kwargs";
    const LENGTH: &str = "model_max_length";
    let arguments = match arguments(config, FIELD) {
        None => return Ok(None),
        Some(Value::Object(arguments)) => arguments,
        other => return Err(json::field_error(path, FIELD, "an object", other)),
    };
    let is_unknown = |name: &str| name != LENGTH && name != TRUST;
    for (name, value) in arguments.iter().filter(|(name, _)| is_unknown(name)) {
        let path = path.display();
        reporter.warning(&format!("{path}: {FIELD}.{name} is not supported; ignoring {value}"));
    }
    json::optional_usize(&Value::Object(arguments.clone()), LENGTH, path)
}

/// Arguments for loading a part of the model. The field has another name in older files.
fn arguments<'a>(config: &'a Value, field: &str) -> Option<&'a Value> {
    const OLD_NAMES: [(&str, &str); 3] = [
        ("model_kwargs", "model_args"),
        ("processor_kwargs", "tokenizer_args"),
        ("config_kwargs", "config_args"),
    ];
    let old = OLD_NAMES.iter().find(|(new, _)| *new == field).map(|(_, old)| *old);
    old.and_then(|old| config.get(old)).or_else(|| config.get(field))
}
