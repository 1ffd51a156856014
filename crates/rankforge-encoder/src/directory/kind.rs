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

/// What says that a directory without `modules.json` is a cross-encoder, if something does: the
/// settings that sentence-transformers writes, or a classifier with one label. A classifier with
/// several may be trained further as a dual encoder.
///
/// # Errors
/// A JSON file that cannot be read or is malformed.
pub(crate) fn names_cross_encoder(directory: &Path) -> Result<Option<String>, EncoderError> {
    let read = |name: &str| -> Result<Value, EncoderError> {
        Ok(json::read_optional_object(&directory.join(name))?.unwrap_or_default())
    };
    if read("config_sentence_transformers.json")?["model_type"] == "CrossEncoder" {
        return Ok(Some("config_sentence_transformers.json".to_owned()));
    }
    let config = read("config.json")?;
    let settings = ["sbert_ce_default_activation_function", "sentence_transformers"];
    let written = |name: &str| match &config[name] {
        Value::Object(fields) => fields.contains_key("activation_fn"),
        value => !value.is_null(),
    };
    if let Some(name) = settings.into_iter().find(|name| written(name)) {
        return Ok(Some(format!("`{name}` in config.json")));
    }
    let labels = config["id2label"].as_object().map(serde_json::Map::len);
    let one_label = labels == Some(1) || config["num_labels"] == 1;
    let names = config["architectures"].as_array().into_iter().flatten();
    let classifier = names
        .filter_map(Value::as_str)
        .find(|name| one_label && name.ends_with("ForSequenceClassification"));
    Ok(classifier.map(|name| format!("{name} with one label in config.json")))
}
