use crate::error::EncoderError;
use crate::json;
use crate::output_activation::OutputActivation;
use crate::parts::Parts;
use indexmap::IndexMap;
use rankforge_base::{Reporter, quoted_list};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The content of `config_sentence_transformers.json`; empty when there is no such file.
#[derive(Default)]
pub(crate) struct ModelSettings {
    /// The file, for error messages.
    pub path: PathBuf,
    pub(crate) model_type: Option<String>,
    pub prompts: IndexMap<String, String>,
    pub default_prompt_name: Option<String>,
    pub activation_fn: Option<String>,
    pub similarity_fn_name: Option<String>,
    pub truncate_dim: Option<usize>,
}

impl ModelSettings {
    /// Adds the prompts to those of a model, and sets its default prompt.
    ///
    /// # Errors
    /// A default that is none of the model's prompts, or that the tokenizer fails on.
    pub(crate) fn set_prompts(&self, parts: &mut Parts) -> Result<(), EncoderError> {
        const FIELD: &str = "default_prompt_name";
        let prompts = self.prompts.iter().map(|(name, text)| (name.clone(), text.clone()));
        parts.prompts.extend(prompts);
        if let Some(name) = self.default_prompt_name.as_ref()
            && !parts.prompts.contains_key(name)
        {
            let known = quoted_list(parts.prompts.keys().map(String::as_str));
            let expected = format!("the name of a prompt of the model, which has {known}");
            return Err(json::field_error(&self.path, FIELD, &expected, Some(&json!(name))));
        }
        parts.default_prompt_name = self.default_prompt_name.clone();
        parts.prompt(None, None).map(drop)
    }
}

/// Reads `config_sentence_transformers.json`.
///
/// # Errors
/// A malformed file or a field of the wrong type.
pub(crate) fn read_settings(directory: &Path) -> Result<ModelSettings, EncoderError> {
    let path = directory.join("config_sentence_transformers.json");
    let Some(config) = json::read_optional_object(&path)? else {
        return Ok(ModelSettings::default());
    };
    let mut prompts = IndexMap::new();
    match config.get("prompts") {
        None | Some(Value::Null) => {}
        Some(Value::Object(texts)) => {
            for (name, text) in texts {
                let error =
                    || json::field_error(&path, "prompts", "a string for each name", Some(text));
                // As in sentence-transformers, null is an empty prompt.
                let text = if text.is_null() { Some("") } else { text.as_str() };
                prompts.insert(name.clone(), text.ok_or_else(error)?.to_owned());
            }
        }
        other => return Err(json::field_error(&path, "prompts", "an object", other)),
    }
    let string =
        |field| json::optional_str(&config, field, &path).map(|text| text.map(str::to_owned));
    Ok(ModelSettings {
        model_type: string("model_type")?,
        prompts,
        default_prompt_name: string("default_prompt_name")?,
        activation_fn: string("activation_fn")?,
        similarity_fn_name: string("similarity_fn_name")?,
        truncate_dim: json::optional_usize(&config, "truncate_dim", &path)?,
        path,
    })
}

/// The output activation that a file calls `name`; `None`, with a warning, for a class from outside
/// torch.
///
/// # Errors
/// A class of torch that is not supported.
pub(crate) fn read_activation(
    name: &str,
    path: &Path,
    field: &str,
    reporter: &dyn Reporter,
) -> Result<Option<OutputActivation>, EncoderError> {
    if !name.starts_with("torch.") {
        reporter.warning(&format!(
            "{}: {field} {name} is not a class of torch; using the default",
            path.display()
        ));
        return Ok(None);
    }
    match OutputActivation::from_class(name) {
        Some(activation) => Ok(Some(activation)),
        None => {
            let expected = format!("one of {} of torch.nn", OutputActivation::classes());
            Err(json::field_error(path, field, &expected, Some(&json!(name))))
        }
    }
}
