use crate::error::EncoderError;
use crate::json;
use crate::tokenizer::word_piece;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// Name and content of a file.
pub(crate) type NamedFile<'a> = (&'static str, Cow<'a, [u8]>);

/// Files that are copied unchanged into a saved model: nothing here reads them, but other programs
/// may.
const COPIED: [&str; 12] = [
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

/// Tokenizer classes, without the suffixes `Tokenizer` and `Fast`, that give no segment ids
/// (`token_type_ids`) in transformers. The last two are generic classes.
const WITHOUT_SEGMENTS: [&str; 10] = [
    "Roberta",
    "XLMRoberta",
    "Camembert",
    "DistilBert",
    "MPNet",
    "ModernBert",
    "GPT2",
    "Qwen2",
    "PreTrained",
    "TokenizersBackend",
];

/// The files of a tokenizer.
#[derive(Clone)]
pub(super) struct TokenizerFiles {
    /// Content of `tokenizer.json`.
    json: String,
    /// Path of `tokenizer.json`, for error messages.
    path: PathBuf,
    /// Content of `tokenizer_config.json`.
    config: Option<Value>,
    config_path: PathBuf,
    /// The other files, as pairs (name, content).
    copied: Vec<(&'static str, Vec<u8>)>,
    has_segments: bool,
    truncates_left: bool,
}

impl TokenizerFiles {
    /// Reads the files in a directory. Without a `tokenizer.json`, its content is converted from a
    /// BERT vocabulary.
    ///
    /// # Errors
    /// A missing or malformed file, or a field with an unusable value.
    pub(super) fn read(directory: &Path) -> Result<TokenizerFiles, EncoderError> {
        let config_path = directory.join("tokenizer_config.json");
        let config = json::read_optional_object(&config_path)?;
        let path = directory.join("tokenizer.json");
        let json = if json::exists(&path)? {
            let bytes = json::read_bytes(&path)?;
            String::from_utf8(bytes).map_err(|_| json::file_error(&path, "invalid UTF-8"))?
        } else {
            word_piece::tokenizer_json(directory, config.as_ref(), &config_path)?
        };
        let mut copied = Vec::new();
        for name in COPIED {
            let file = directory.join(name);
            if json::exists(&file)? {
                copied.push((name, json::read_bytes(&file)?));
            }
        }
        let mut files = TokenizerFiles {
            json,
            path,
            config,
            config_path,
            copied,
            has_segments: true,
            truncates_left: false,
        };
        files.has_segments = files.read_has_segments()?;
        files.truncates_left = files.read_truncates_left()?;
        Ok(files)
    }

    /// The files of a tokenizer that is only a `tokenizer.json`.
    pub(super) fn from_json(json: &str) -> TokenizerFiles {
        TokenizerFiles {
            json: json.to_owned(),
            path: PathBuf::from("tokenizer.json"),
            config: None,
            config_path: PathBuf::from("tokenizer_config.json"),
            copied: Vec::new(),
            has_segments: true,
            truncates_left: false,
        }
    }

    /// Content of `tokenizer.json`.
    pub(super) fn json(&self) -> &str {
        &self.json
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

    /// `model_max_length` in `tokenizer_config.json`; `None` when absent, null or so large that it
    /// means no limit.
    pub(super) fn max_length(&self) -> Result<Option<usize>, EncoderError> {
        const FIELD: &str = "model_max_length";
        match self.config.as_ref().and_then(|config| config.get(FIELD)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(length) if length >= NO_LIMIT => Ok(None),
                Some(length) if length >= 1.0 => Ok(Some(length as usize)),
                _ => {
                    let expected = "a positive integer";
                    Err(json::field_error(&self.config_path, FIELD, expected, Some(value)))
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
        Some(TokenizerFiles { json: json.to_string(), ..self.clone() })
    }

    /// Content of `tokenizer.json`, parsed. [`Tokenizer`](super::Tokenizer) has parsed it before,
    /// so it is valid.
    fn parsed(&self) -> Value {
        serde_json::from_str(&self.json).expect("the tokenizer was parsed from this text")
    }

    /// All files for saving, with `max_length` as `model_max_length`.
    pub(super) fn all(
        &self,
        max_length: Option<usize>,
    ) -> Result<Vec<NamedFile<'_>>, EncoderError> {
        let mut config = match &self.config {
            Some(config) => config.clone(),
            None => self.new_config(),
        };
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

    /// A `tokenizer_config.json` for a tokenizer that had none: the class and the special tokens,
    /// without which transformers cannot open it.
    fn new_config(&self) -> Value {
        const ROLES: [(&str, &[&str]); 7] = [
            ("unk_token", &["[UNK]", "<unk>"]),
            ("pad_token", &["[PAD]", "<pad>"]),
            ("cls_token", &["[CLS]", "<s>"]),
            ("sep_token", &["[SEP]", "</s>"]),
            ("mask_token", &["[MASK]", "<mask>"]),
            ("bos_token", &["<s>"]),
            ("eos_token", &["</s>"]),
        ];
        let mut config = Map::new();
        config.insert("tokenizer_class".into(), json!("PreTrainedTokenizerFast"));
        // By default this class gives no segment ids.
        let inputs = ["input_ids", "token_type_ids", "attention_mask"];
        config.insert("model_input_names".into(), json!(inputs));
        let json = self.parsed();
        let added: Vec<&str> = json["added_tokens"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|token| token["content"].as_str())
            .collect();
        for (role, candidates) in ROLES {
            if let Some(token) = candidates.iter().find(|token| added.contains(token)) {
                config.insert(role.into(), json!(token));
            }
        }
        Value::Object(config)
    }

    /// Whether the tokenizer gives segment ids in transformers: when `model_input_names` contains
    /// them, or by default when its class does.
    fn read_has_segments(&self) -> Result<bool, EncoderError> {
        let Some(config) = &self.config else {
            return Ok(true);
        };
        if let Some(names) = config.get("model_input_names").filter(|names| !names.is_null()) {
            let expected = "an array of strings";
            let names = names.as_array().ok_or_else(|| {
                json::field_error(&self.config_path, "model_input_names", expected, Some(names))
            })?;
            return Ok(names.iter().any(|name| name == "token_type_ids"));
        }
        let class = json::optional_str(config, "tokenizer_class", &self.config_path)?;
        let class = class.unwrap_or_default();
        let family = class.strip_suffix("Fast").unwrap_or(class);
        let family = family.strip_suffix("Tokenizer").unwrap_or(family);
        Ok(!WITHOUT_SEGMENTS.contains(&family))
    }

    /// Whether `truncation_side` is "left".
    fn read_truncates_left(&self) -> Result<bool, EncoderError> {
        const FIELD: &str = "truncation_side";
        let config = self.config.as_ref();
        let side = config.map(|config| json::optional_str(config, FIELD, &self.config_path));
        match side.transpose()?.flatten() {
            // As in transformers, the default is the side that is stored in `tokenizer.json`.
            None => Ok(self.stored_truncation().is_some_and(|(_, left)| left)),
            Some("right") => Ok(false),
            Some("left") => Ok(true),
            Some(_) => {
                let got = config.and_then(|config| config.get(FIELD));
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
