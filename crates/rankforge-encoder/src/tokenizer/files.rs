//! The files of a tokenizer, and how they are saved.

use crate::error::EncoderError;
use crate::json;
use crate::tokenizer::class::TokenizerClass;
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Name and content of a file.
pub(crate) type NamedFile<'a> = (&'static str, Cow<'a, [u8]>);

/// Files that are copied unchanged into a saved model. Other programs may read those that nothing
/// here reads.
pub(super) const COPIED: [&str; 12] = [
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "spm.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "bpe.codes",
    "chat_template.jinja",
    "chat_template.json",
];

/// A `model_max_length` of at least this means no limit; transformers writes 1e30.
const NO_LIMIT: f64 = 1e9;

/// The files of a tokenizer.
#[derive(Clone)]
pub(super) struct TokenizerFiles {
    /// Content of `tokenizer.json`, with all that the other files and the class change.
    pub(super) json: String,
    /// Path of `tokenizer.json`, for error messages.
    pub(super) path: PathBuf,
    /// Content of `tokenizer_config.json`.
    pub(super) config: Option<Value>,
    pub(super) config_path: PathBuf,
    /// The other files, as pairs (name, content).
    pub(super) copied: Vec<(&'static str, Vec<u8>)>,
    /// The class in transformers; `None` for one that is not known here.
    pub(super) class: Option<TokenizerClass>,
    pub(super) has_segments: bool,
    pub(super) truncates_left: bool,
    /// Whether special tokens in texts are split like any other text.
    pub(super) splits_special_tokens: bool,
    /// Whether [`TokenizerFiles::with_lower_case`] added a normalizer.
    lower_case: bool,
    pub(super) warnings: Vec<String>,
}

impl TokenizerFiles {
    /// No file of a directory yet.
    pub(super) fn new(directory: &Path) -> TokenizerFiles {
        TokenizerFiles {
            json: String::new(),
            path: directory.join("tokenizer.json"),
            config: None,
            config_path: directory.join("tokenizer_config.json"),
            copied: Vec::new(),
            class: Some(TokenizerClass::Backend),
            has_segments: true,
            truncates_left: false,
            splits_special_tokens: false,
            lower_case: false,
            warnings: Vec::new(),
        }
    }

    /// Content of `tokenizer_config.json`; null when there is none.
    pub(super) fn config(&self) -> &Value {
        self.config.as_ref().unwrap_or(&Value::Null)
    }

    /// What the user should know about how the files were read.
    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether special tokens in texts are split like any other text.
    pub(super) fn splits_special_tokens(&self) -> bool {
        self.splits_special_tokens
    }

    /// Whether [`TokenizerFiles::with_lower_case`] added a normalizer, which the files of a
    /// tokenizer cannot say for every class.
    pub(super) fn lower_case(&self) -> bool {
        self.lower_case
    }

    /// Path of `tokenizer_config.json`, for error messages.
    pub(super) fn config_path(&self) -> &Path {
        &self.config_path
    }

    /// Checks what the tokenizers crate takes for granted: it panics at a decoder that is not JSON.
    ///
    /// # Errors
    /// Malformed text, with line and column.
    pub(super) fn check_syntax(&self) -> Result<(), EncoderError> {
        #[derive(Deserialize)]
        struct DecoderField {
            #[serde(default, rename = "decoder")]
            _decoder: Value,
        }
        let checked = serde_json::from_str::<DecoderField>(&self.json);
        checked.map(drop).map_err(|error| self.invalid(error))
    }

    /// The error for a `tokenizer.json` that is not a tokenizer.
    pub(super) fn invalid(&self, error: impl std::fmt::Display) -> EncoderError {
        self.error(format!("not a valid tokenizer: {error}"))
    }

    /// An error about `tokenizer.json`.
    pub(super) fn error(&self, message: impl Into<String>) -> EncoderError {
        json::file_error(&self.path, message)
    }

    /// Whether the model gets the segment ids of the template; without them every token has
    /// segment 0.
    pub(super) fn has_segments(&self) -> bool {
        self.has_segments
    }

    /// Whether truncation removes tokens from the start of a text instead of its end.
    pub(super) fn truncates_left(&self) -> bool {
        self.truncates_left
    }

    /// `model_max_length` in `tokenizer_config.json`, or `max_len` where it is missing; `None` when
    /// absent, null or so large that it means no limit.
    pub(super) fn max_length(&self) -> Result<Option<usize>, EncoderError> {
        let field = ["model_max_length", "max_len"];
        let field = field.into_iter().find(|field| self.config().get(field).is_some());
        match field.and_then(|field| Some((field, self.config().get(field)?))) {
            None | Some((_, Value::Null)) => Ok(None),
            Some((field, value)) => match value.as_f64() {
                Some(length) if length >= NO_LIMIT => Ok(None),
                Some(length) if length >= 1.0 => Ok(Some(length as usize)),
                _ => {
                    let expected = "a positive integer";
                    Err(json::field_error(&self.config_path, field, expected, Some(value)))
                }
            },
        }
    }

    /// The truncation that is stored in `tokenizer.json`: maximum length, and whether it removes
    /// tokens from the start of a text.
    pub(super) fn stored_truncation(&self) -> Option<(usize, bool)> {
        let json: Value = serde_json::from_str(&self.json).ok()?;
        let truncation = json.get("truncation")?;
        let length = usize::try_from(truncation.get("max_length")?.as_u64()?).ok()?;
        let left = truncation.get("direction").is_some_and(|side| side == "Left");
        Some((length, left))
    }

    /// The same files with a normalizer that converts to lower case before anything else; `None`
    /// when the normalizer converts to lower case already.
    pub(super) fn with_lower_case(&self) -> Option<TokenizerFiles> {
        let mut json = self.parsed();
        let normalizer = json["normalizer"].take();
        if converts_to_lower_case(&normalizer) {
            return None;
        }
        let mut steps = vec![json!({"type": "Lowercase"})];
        match normalizer {
            Value::Null => {}
            Value::Object(object) if object.get("type") == Some(&json!("Sequence")) => {
                steps.extend(object["normalizers"].as_array().into_iter().flatten().cloned());
            }
            other => steps.push(other),
        }
        json["normalizer"] = json!({"type": "Sequence", "normalizers": steps});
        Some(TokenizerFiles { json: json.to_string(), lower_case: true, ..self.clone() })
    }

    /// Content of `tokenizer.json`, parsed. It has been parsed before, so it is valid.
    fn parsed(&self) -> Value {
        serde_json::from_str(&self.json).expect("the tokenizer was parsed from this text")
    }

    /// All files for saving, with `max_length` as `model_max_length`.
    pub(super) fn all(
        &self,
        max_length: Option<usize>,
    ) -> Result<Vec<NamedFile<'_>>, EncoderError> {
        let mut config = self.config.clone().unwrap_or_else(|| json!({}));
        self.name_class(&mut config);
        match max_length {
            Some(length) => config["model_max_length"] = json!(length),
            None if self.max_length()?.is_some() => {
                config["model_max_length"] = Value::Null;
            }
            None => {}
        }
        let mut files = vec![
            ("tokenizer.json", Cow::Borrowed(self.json.as_bytes())),
            ("tokenizer_config.json", Cow::Owned(json::pretty(&config))),
        ];
        files.extend(self.copied.iter().map(|(name, bytes)| (*name, Cow::Borrowed(&bytes[..]))));
        Ok(files)
    }

    /// `tokenizer.json` for saving, with truncation to `max_length`.
    pub(super) fn for_static_model(&self, max_length: Option<usize>) -> NamedFile<'_> {
        const NAME: &str = "tokenizer.json";
        let stored = self.stored_truncation();
        if max_length == stored.map(|(length, _)| length) {
            return (NAME, Cow::Borrowed(self.json.as_bytes()));
        }
        let mut json = self.parsed();
        let left = stored.is_some_and(|(_, left)| left);
        json["truncation"] = match max_length {
            Some(length) => json!({
                "direction": if left { "Left" } else { "Right" },
                "max_length": length,
                "strategy": "LongestFirst",
                "stride": 0,
            }),
            None => Value::Null,
        };
        (NAME, Cow::Owned(json.to_string().into_bytes()))
    }

    /// Names the class of the tokenizer in a `tokenizer_config.json` that does not, so that it does
    /// not depend on the model that the tokenizer is saved with.
    fn name_class(&self, config: &mut Value) {
        let Some(class) = self.class.filter(|_| config["tokenizer_class"].is_null()) else {
            return;
        };
        config["tokenizer_class"] = json!(class.name());
        if config.get("model_input_names").is_none_or(Value::is_null)
            && class.has_segments() != self.has_segments
        {
            let segments = ["input_ids", "token_type_ids", "attention_mask"];
            let names = if self.has_segments { &segments[..] } else { &[segments[0], segments[2]] };
            config["model_input_names"] = json!(names);
        }
        if class == TokenizerClass::Backend && self.config.is_none() {
            self.name_special_tokens(config);
        }
    }

    /// Names the special tokens, without which transformers cannot pad.
    fn name_special_tokens(&self, config: &mut Value) {
        const ROLES: [(&str, &[&str]); 7] = [
            ("unk_token", &["[UNK]", "<unk>"]),
            ("pad_token", &["[PAD]", "<pad>"]),
            ("cls_token", &["[CLS]", "<s>"]),
            ("sep_token", &["[SEP]", "</s>"]),
            ("mask_token", &["[MASK]", "<mask>"]),
            ("bos_token", &["<s>"]),
            ("eos_token", &["</s>"]),
        ];
        let json = self.parsed();
        let added: Vec<&str> = json["added_tokens"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|token| token["content"].as_str())
            .collect();
        for (role, candidates) in ROLES {
            if let Some(token) = candidates.iter().find(|token| added.contains(token)) {
                config[role] = json!(token);
            }
        }
    }

    /// Whether `model_input_names` contains segment ids; `None` when there is no such field.
    pub(super) fn read_input_names(&self) -> Result<Option<bool>, EncoderError> {
        const FIELD: &str = "model_input_names";
        let Some(names) = self.config().get(FIELD).filter(|names| !names.is_null()) else {
            return Ok(None);
        };
        let error =
            || json::field_error(&self.config_path, FIELD, "an array of strings", Some(names));
        let names = names.as_array().ok_or_else(error)?;
        Ok(Some(names.iter().any(|name| name == "token_type_ids")))
    }

    /// Whether `truncation_side` is "left".
    pub(super) fn read_truncates_left(&self) -> Result<bool, EncoderError> {
        const FIELD: &str = "truncation_side";
        match json::optional_str(self.config(), FIELD, &self.config_path)? {
            // As in transformers, the default is the side that is stored in `tokenizer.json`.
            None => Ok(self.stored_truncation().is_some_and(|(_, left)| left)),
            Some("right") => Ok(false),
            Some("left") => Ok(true),
            Some(_) => {
                let got = self.config().get(FIELD);
                Err(json::field_error(&self.config_path, FIELD, "\"left\" or \"right\"", got))
            }
        }
    }
}

fn converts_to_lower_case(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        Some("Lowercase") => true,
        Some("BertNormalizer") => normalizer["lowercase"] == true,
        Some("Sequence") => {
            normalizer["normalizers"].as_array().into_iter().flatten().any(converts_to_lower_case)
        }
        _ => false,
    }
}
