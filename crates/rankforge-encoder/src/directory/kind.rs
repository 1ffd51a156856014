use crate::error::EncoderError;
use crate::json;
use crate::lora::{ADAPTER_CONFIG, adapter_base};
use crate::options::LoadOptions;
use crate::roles::ModelKind;
use serde_json::Value;
use std::path::Path;

impl ModelKind {
    /// The kind of the model in a directory, from its JSON files.
    ///
    /// With a `modules.json`, `model_type` in `config_sentence_transformers.json` determines it.
    /// Without one, a transformer for sequence classification is a cross-encoder, and any other a
    /// sentence transformer; the task of an adapter is in its config, or else that of its base
    /// model.
    ///
    /// # Errors
    /// A JSON file that cannot be read or is malformed, or an adapter without its base model.
    pub fn of_directory(directory: &Path) -> Result<ModelKind, EncoderError> {
        ModelKind::of_directory_with(directory, &LoadOptions::default())
    }

    /// [`ModelKind::of_directory`] where the options may name the base model of an adapter.
    ///
    /// # Errors
    /// As [`ModelKind::of_directory`].
    pub fn of_directory_with(
        directory: &Path,
        options: &LoadOptions,
    ) -> Result<ModelKind, EncoderError> {
        let read = |name: &str| -> Result<Value, EncoderError> {
            Ok(json::read_optional_object(&directory.join(name))?.unwrap_or_default())
        };
        let is_cross_encoder = if json::exists(&directory.join("modules.json"))? {
            read("config_sentence_transformers.json")?["model_type"] == "CrossEncoder"
        } else {
            let adapter = read(ADAPTER_CONFIG)?;
            match adapter["task_type"].as_str() {
                Some("SEQ_CLS") => return Ok(ModelKind::CrossEncoder),
                Some("FEATURE_EXTRACTION") => return Ok(ModelKind::SentenceTransformer),
                _ => {}
            }
            let base = adapter_base(directory, options)?;
            let config = base.as_deref().unwrap_or(directory).join("config.json");
            let config = json::read_optional_object(&config)?.unwrap_or_default();
            let is_classifier = |name: &Value| {
                name.as_str().is_some_and(|name| name.ends_with("ForSequenceClassification"))
            };
            config["architectures"].as_array().is_some_and(|names| names.iter().any(is_classifier))
        };
        Ok(match is_cross_encoder {
            true => ModelKind::CrossEncoder,
            false => ModelKind::SentenceTransformer,
        })
    }
}
