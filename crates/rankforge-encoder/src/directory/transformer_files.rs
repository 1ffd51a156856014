//! The transformer of a model directory: its config, its tokenizer and the maximum length.

use crate::architecture::{Architecture, TransformerTask};
use crate::directory::module_config::ModuleConfig;
use crate::error::EncoderError;
use crate::json;
use crate::lora::AdapterFolder;
use crate::options::LoadOptions;
use crate::tokenizer::Tokenizer;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// A `config.json` and its path, which is for error messages.
pub(crate) struct ConfigFile {
    pub value: Value,
    pub path: PathBuf,
}

/// A transformer without its weights.
pub(crate) struct TransformerFiles {
    /// The content of `config.json`, as it will be saved.
    pub config: Value,
    pub architecture: Architecture,
    pub tokenizer: Tokenizer,
    /// The directory, if it has all weights of the transformer: those of an adapter are in another
    /// one too.
    pub folder: Option<PathBuf>,
}

impl TransformerFiles {
    /// Reads config and tokenizer from a directory, or, where an adapter has none of its own, from
    /// that of its base model. `prepare` gets the config and its path, may
    /// change the config, and gives the task.
    ///
    /// # Errors
    /// The errors of `prepare`, a missing, malformed or unsupported file, a tokenizer with more ids
    /// or segments than the model has embeddings for, or an unusable `max_length`.
    pub(crate) fn open(
        folder: &Path,
        module: &ModuleConfig,
        options: &LoadOptions,
        prepare: impl FnOnce(&mut Value, &Path) -> Result<TransformerTask, EncoderError>,
    ) -> Result<TransformerFiles, EncoderError> {
        let adapter = AdapterFolder::open(folder, options)?;
        let base = adapter.as_ref().map(|adapter| &*adapter.base);
        let path = config_path(base.filter(|_| !folder.join(CONFIG).is_file()).unwrap_or(folder))?;
        let mut config = ConfigFile { value: json::read_object(&path)?, path };
        for (field, value) in &module.config_kwargs {
            config.value[field] = value.clone();
        }
        let own = TOKENIZERS.iter().any(|file| folder.join(file).is_file());
        let mut tokenizer = Tokenizer::load(base.filter(|_| !own).unwrap_or(folder))?;
        tokenizer.warnings().iter().for_each(|text| options.reporter.warning(text));
        if module.do_lower_case {
            tokenizer = tokenizer.into_lower_case()?;
        }
        let mut files = TransformerFiles::build(config, tokenizer, module, options, prepare)?;
        files.folder = adapter.is_none().then(|| folder.to_owned());
        Ok(files)
    }

    /// Combines a config and a tokenizer; see [`TransformerFiles::open`].
    ///
    /// # Errors
    /// The errors of [`TransformerFiles::open`], except those about files, or a config that is no
    /// object.
    pub(crate) fn build(
        config: ConfigFile,
        mut tokenizer: Tokenizer,
        module: &ModuleConfig,
        options: &LoadOptions,
        prepare: impl FnOnce(&mut Value, &Path) -> Result<TransformerTask, EncoderError>,
    ) -> Result<TransformerFiles, EncoderError> {
        let ConfigFile { value: mut config, path } = config;
        json::check_object(&config, &path)?;
        let task = prepare(&mut config, &path)?;
        let architecture = Architecture::from_config(&config, &path, &task)?;
        tokenizer.check_table(architecture.encoder.vocab_size, &path)?;
        tokenizer.set_rows(architecture.encoder.vocab_size);
        let (segment, segments) =
            (tokenizer.largest_segment(), architecture.encoder.type_vocab_size);
        // In a model with one segment, every token has that segment.
        if segments > 1 && segment as usize >= segments {
            let message = format!(
                "expected segment ids below {segments}, the type_vocab_size, but the tokenizer \
                 gives segment {segment}"
            );
            return Err(json::file_error(&path, message));
        }
        let stored = match module.max_seq_length {
            Some((tokens, field)) => vec![MaxLength::of(tokens, &module.path, field)],
            None => {
                let tokenizer = tokenizer.stored_max_length();
                let tokenizer =
                    tokenizer.map(|(tokens, path)| MaxLength::of(tokens, path, "model_max_length"));
                let config = json::optional_positions(&config, &path)?;
                let config = config.map(|tokens| MaxLength::of(tokens, &path, POSITIONS));
                tokenizer.into_iter().chain(config).collect()
            }
        };
        let positions = architecture.encoder.max_positions;
        let limit = (positions != usize::MAX).then(|| MaxLength::of(positions, &path, POSITIONS));
        let length = max_length(stored, limit, options)?;
        if let Some(length) = &length {
            length.check(tokenizer.special_tokens(true))?;
        }
        tokenizer.set_max_length(length.map(|length| length.tokens));
        prepare_for_saving(&mut config);
        Ok(TransformerFiles { config, architecture, tokenizer, folder: None })
    }
}

const CONFIG: &str = "config.json";

/// Files of which a directory with a tokenizer has one. That of an adapter may have none, and the
/// tokenizer is then that of its base model.
const TOKENIZERS: [&str; 2] = ["tokenizer.json", "tokenizer_config.json"];

/// The path of `config.json` in a directory. The error says what the directory is instead of that
/// of a model.
fn config_path(folder: &Path) -> Result<PathBuf, EncoderError> {
    let path = folder.join(CONFIG);
    if !json::exists(folder)? {
        return Err(json::file_error(folder, "no such model directory"));
    }
    if folder.is_file() {
        return Err(json::file_error(folder, "expected a model directory, got a file"));
    }
    if !json::exists(&path)? {
        let message = "expected a model directory, got a directory without config.json";
        return Err(json::file_error(folder, message));
    }
    Ok(path)
}

/// The field of `config.json` with the number of positions.
const POSITIONS: &str = "max_position_embeddings";

/// A maximum length in tokens, with the file and field it is from; `None` for an option.
struct MaxLength {
    tokens: usize,
    from: Option<(PathBuf, &'static str)>,
}

impl MaxLength {
    fn of(tokens: usize, path: &Path, field: &'static str) -> MaxLength {
        MaxLength { tokens, from: Some((path.to_owned(), field)) }
    }

    /// Checks that there is room for a token beside `special` special tokens.
    fn check(&self, special: usize) -> Result<(), EncoderError> {
        if self.tokens > special {
            return Ok(());
        }
        let expected = format!("more than {special}, the special tokens of a pair");
        Err(match self.from.clone() {
            None => EncoderError::argument("max_length", expected, self.tokens),
            Some((path, field)) => {
                let got = format!("a maximum length of {}", self.tokens);
                EncoderError::Field { path, field: field.to_owned(), expected, got }
            }
        })
    }
}

/// The maximum length: the user's option, or else the smallest of those `stored` in the files, but
/// at most `limit`, the number of positions of the model.
fn max_length(
    stored: Vec<MaxLength>,
    limit: Option<MaxLength>,
    options: &LoadOptions,
) -> Result<Option<MaxLength>, EncoderError> {
    let positions = limit.as_ref().map_or(usize::MAX, |limit| limit.tokens);
    match options.max_length {
        Some(0) => Err(EncoderError::argument("max_length", "a positive number", 0)),
        Some(requested) if requested > positions => {
            options.reporter.warning(&format!(
                "max_length {requested} is more than the {positions} positions of the model; \
                 using {positions}"
            ));
            Ok(limit)
        }
        Some(tokens) => Ok(Some(MaxLength { tokens, from: None })),
        None => Ok(stored.into_iter().chain(limit).min_by_key(|length| length.tokens)),
    }
}

/// Removes the path that the model was loaded from, and sets the type in which weights are saved.
fn prepare_for_saving(config: &mut Value) {
    let object = config.as_object_mut().expect("the config is an object");
    object.shift_remove("torch_dtype");
    object.shift_remove("_name_or_path");
    object.insert("dtype".to_owned(), json!("float32"));
}

/// The name of the transformers class of the config's family with a suffix: `BertModel` for the
/// suffix `Model`.
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
        other => panic!("no class name for the family {other}, which Architecture supports"),
    };
    format!("{family}{suffix}")
}

/// Sets the dropout probability of the classification head in the config, in the field that the
/// family has for it.
///
/// # Errors
/// A probability outside `[0, 1)`, or a family whose head has no dropout field of its own.
pub(crate) fn classifier_dropout(config: &mut Value, dropout: f32) -> Result<(), EncoderError> {
    if !(0.0..1.0).contains(&dropout) {
        let expected = "a number in [0, 1)";
        return Err(EncoderError::argument("classifier_dropout", expected, dropout));
    }
    let field = match config.get("model_type").and_then(Value::as_str) {
        Some("distilbert") => "seq_classif_dropout",
        Some("mpnet") => {
            let expected = "no value, as the classification head of mpnet uses hidden_dropout_prob";
            return Err(EncoderError::argument("classifier_dropout", expected, dropout));
        }
        _ => "classifier_dropout",
    };
    config[field] = json!(dropout);
    Ok(())
}
