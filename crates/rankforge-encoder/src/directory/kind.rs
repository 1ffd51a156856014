use crate::error::EncoderError;
use crate::json;
use crate::roles::ModelKind;
use serde_json::Value;
use std::path::Path;

impl ModelKind {
    /// The kind of the model in a directory, from its JSON files.
    ///
    /// With a `modules.json`, `model_type` in `config_sentence_transformers.json` determines it.
    /// Without one, a transformer for sequence classification is a cross-encoder, and any other a
    /// sentence transformer.
    ///
    /// # Errors
    /// A JSON file that cannot be read or is malformed.
    pub fn of_directory(directory: &Path) -> Result<ModelKind, EncoderError> {
        let read = |name: &str| -> Result<Value, EncoderError> {
            Ok(json::read_optional_object(&directory.join(name))?.unwrap_or_default())
        };
        let is_cross_encoder = if json::exists(&directory.join("modules.json"))? {
            read("config_sentence_transformers.json")?["model_type"] == "CrossEncoder"
        } else {
            let config = read("config.json")?;
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
