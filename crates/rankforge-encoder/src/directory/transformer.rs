//! The transformer of a model directory: config, tokenizer and maximum length.

use super::json;
use crate::{Architecture, EncoderError, LoadOptions, Reporter, Task, Tokenizer};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Names that the Transformer module's own config has had.
const MODULE_CONFIGS: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// What `sentence_bert_config.json` says.
#[derive(Clone, Debug, Default)]
pub(crate) struct ModuleConfig {
    pub task: Option<String>,
    pub max_seq_length: Option<usize>,
    pub do_lower_case: bool,
}

impl ModuleConfig {
    /// Reads the file of a Transformer module's folder; all defaults when there is none.
    ///
    /// # Errors
    /// A malformed file, or one that asks for something else than plain text.
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
            let expected = "a \"text\" entry (chat templates and other inputs are not supported)";
            return Err(json::field_error(path, "modality_config", expected, Some(modalities)));
        }
        for field in ["query_length", "document_length", "query_expansion"] {
            if config.get(field).is_some_and(|value| !value.is_null() && value != false) {
                let expected = "nothing (it is not supported)";
                return Err(json::field_error(path, field, expected, config.get(field)));
            }
        }
        let empty = |value: &Value| {
            value.is_null() || value == &json!({}) || value == &json!([]) || value == false
        };
        for field in ["processing_kwargs", "model_args", "config_args", "tokenizer_args"] {
            if let Some(value) = config.get(field).filter(|value| !empty(value)) {
                reporter.warning(&format!("{}: {field} {value} is not used", path.display()));
            }
        }
        Ok(ModuleConfig {
            task: json::optional_str(config, "transformer_task", path)?.map(str::to_owned),
            max_seq_length: json::optional_usize(config, "max_seq_length", path)?,
            do_lower_case: json::optional_bool(config, "do_lower_case", path)?.unwrap_or(false),
        })
    }
}

/// A transformer's files, its numbers not read yet.
pub(crate) struct Transformer {
    /// `config.json`, as it is to be written back.
    pub config: Value,
    pub architecture: Architecture,
    pub tokenizer: Tokenizer,
}

impl Transformer {
    /// Reads config and tokenizer of a folder; `prepare` may change the config and names the task.
    ///
    /// # Errors
    /// Whatever is wrong with the files, or ids of the tokenizer that the model does not have.
    pub(crate) fn open(
        folder: &Path,
        module: &ModuleConfig,
        options: &LoadOptions,
        reporter: &dyn Reporter,
        prepare: impl FnOnce(&mut Value, &Path) -> Result<Task, EncoderError>,
    ) -> Result<Transformer, EncoderError> {
        let path = config_path(folder)?;
        let config = json::read_object(&path)?;
        let mut tokenizer = Tokenizer::load(folder)?;
        if module.do_lower_case {
            tokenizer = tokenizer.into_lower_case()?;
        }
        Transformer::build(config, path, tokenizer, module, options, reporter, prepare)
    }

    /// The same from a config and a tokenizer at hand.
    ///
    /// # Errors
    /// As [`Transformer::open`].
    pub(crate) fn build(
        mut config: Value,
        path: PathBuf,
        mut tokenizer: Tokenizer,
        module: &ModuleConfig,
        options: &LoadOptions,
        reporter: &dyn Reporter,
        prepare: impl FnOnce(&mut Value, &Path) -> Result<Task, EncoderError>,
    ) -> Result<Transformer, EncoderError> {
        let task = prepare(&mut config, &path)?;
        let architecture = Architecture::from_config(&config, &path, &task)?;
        check_vocabulary(&tokenizer, architecture.encoder.vocab_size, &path)?;
        let (segment, segments) =
            (tokenizer.largest_segment(), architecture.encoder.type_vocab_size);
        // A model of one segment takes every token as of it.
        if segments > 1 && segment as usize >= segments {
            let message =
                format!("the tokenizer has segment {segment} and the model embeds {segments}");
            return Err(json::file_error(&path, message));
        }
        let positions = architecture.encoder.max_positions;
        let stated = match module.max_seq_length {
            Some(length) => Some(length),
            None => {
                let limit = json::optional_positions(&config, &path)?;
                least(tokenizer.max_length(), limit)
            }
        };
        let length = settle_max_length(stated, positions, options, reporter)?;
        if let Some(length) = length
            && length <= tokenizer.special_tokens(true)
        {
            return Err(EncoderError::Input(format!(
                "a maximum length of {length} leaves no room for text beside the {} special tokens",
                tokenizer.special_tokens(true)
            )));
        }
        tokenizer.set_max_length(length);
        tidy(&mut config);
        Ok(Transformer { config, architecture, tokenizer })
    }
}

/// The `config.json` of a folder, or the error that says what is there instead.
fn config_path(folder: &Path) -> Result<PathBuf, EncoderError> {
    let path = folder.join("config.json");
    if json::exists(&folder.join("adapter_config.json"))? {
        return Err(json::file_error(
            folder,
            "an adapter without its base model; in Python, merge_and_unload() and save_pretrained() \
             make a whole model of the two",
        ));
    }
    if !json::exists(folder)? {
        return Err(json::file_error(folder, "no such model directory"));
    }
    if folder.is_file() {
        return Err(json::file_error(folder, "a file, where a model directory was expected"));
    }
    if !json::exists(&path)? {
        return Err(json::file_error(folder, "no config.json: not a model directory"));
    }
    Ok(path)
}

/// # Errors
/// When the tokenizer has ids that the model has no embedding for.
pub(crate) fn check_vocabulary(
    tokenizer: &Tokenizer,
    rows: usize,
    path: &Path,
) -> Result<(), EncoderError> {
    let ids = tokenizer.vocab_size();
    if ids > rows {
        return Err(json::file_error(
            path,
            format!(
                "the tokenizer has {ids} ids and the model embeds {rows}: they are not of the same model"
            ),
        ));
    }
    Ok(())
}

/// The user's length or the stated one, never more than the positions allow.
fn settle_max_length(
    stated: Option<usize>,
    positions: usize,
    options: &LoadOptions,
    reporter: &dyn Reporter,
) -> Result<Option<usize>, EncoderError> {
    let allowed = (positions != usize::MAX).then_some(positions);
    match options.max_length {
        Some(0) => Err(EncoderError::Input("the maximum length must be positive".to_owned())),
        Some(wanted) if wanted > positions => {
            reporter.warning(&format!(
                "max_length {wanted} is more than the {positions} positions of the model; using {positions}"
            ));
            Ok(allowed)
        }
        Some(wanted) => Ok(Some(wanted)),
        None => Ok(least(stated, allowed)),
    }
}

fn least(a: Option<usize>, b: Option<usize>) -> Option<usize> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

/// The weights are written as f32, and where a model came from is nobody's business.
fn tidy(config: &mut Value) {
    let object = config.as_object_mut().expect("a config was read as an object");
    object.shift_remove("torch_dtype");
    object.shift_remove("_name_or_path");
    object.insert("dtype".to_owned(), json!("float32"));
}

/// The Python class of a family with a suffix such as `Model`.
pub(crate) fn class_name(config: &Value, suffix: &str) -> String {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let family = match model_type {
        "bert" => "Bert",
        "roberta" => "Roberta",
        "xlm-roberta" => "XLMRoberta",
        "camembert" => "Camembert",
        "distilbert" => "DistilBert",
        "mpnet" => "MPNet",
        "electra" => "Electra",
        "modernbert" => "ModernBert",
        other => panic!("family {other} has an architecture and no class name"),
    };
    format!("{family}{suffix}")
}

/// Puts a classifier dropout under the name that the family has for it.
///
/// # Errors
/// A family whose head has none of its own.
pub(crate) fn classifier_dropout(config: &mut Value, dropout: f32) -> Result<(), EncoderError> {
    if !(0.0..1.0).contains(&dropout) {
        let message = format!("classifier_dropout must be from 0 to below 1, got {dropout}");
        return Err(EncoderError::Input(message));
    }
    let field = match config.get("model_type").and_then(Value::as_str) {
        Some("distilbert") => "seq_classif_dropout",
        Some("mpnet") => {
            let message = "mpnet has no classifier_dropout: its head uses hidden_dropout_prob";
            return Err(EncoderError::Input(message.to_owned()));
        }
        _ => "classifier_dropout",
    };
    config[field] = json!(dropout);
    Ok(())
}
