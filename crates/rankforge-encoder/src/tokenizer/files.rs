use super::word_piece;
use crate::EncoderError;
use crate::directory::json;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};

/// Files that are kept as they are, for other readers of a saved model.
const KEPT: [&str; 12] = [
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

/// From here on a `model_max_length` means "no limit"; transformers writes 1e30.
const NO_LIMIT: f64 = 1e9;

/// Tokenizer classes whose models are not given segments by transformers; the last two are the
/// general ones.
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

/// The files a tokenizer came from.
#[derive(Clone)]
pub(super) struct TokenizerFiles {
    json: String,
    path: PathBuf,
    config: Option<Value>,
    config_path: PathBuf,
    kept: Vec<(&'static str, Vec<u8>)>,
    segments: bool,
    truncates_left: bool,
}

impl TokenizerFiles {
    pub(super) fn read(directory: &Path) -> Result<TokenizerFiles, EncoderError> {
        let config_path = directory.join("tokenizer_config.json");
        let config = json::read_optional_object(&config_path)?;
        let path = directory.join("tokenizer.json");
        let json = if json::exists(&path)? {
            let bytes = json::read_bytes(&path)?;
            String::from_utf8(bytes).map_err(|_| json::file_error(&path, "not UTF-8 text"))?
        } else {
            word_piece::tokenizer_json(directory, config.as_ref(), &config_path)?
        };
        let mut kept = Vec::new();
        for name in KEPT {
            let file = directory.join(name);
            if json::exists(&file)? {
                kept.push((name, json::read_bytes(&file)?));
            }
        }
        let mut files = TokenizerFiles {
            json,
            path,
            config,
            config_path,
            kept,
            segments: true,
            truncates_left: false,
        };
        files.segments = files.read_segments()?;
        files.truncates_left = files.read_side()?;
        Ok(files)
    }

    pub(super) fn from_json(json: &str) -> TokenizerFiles {
        TokenizerFiles {
            json: json.to_owned(),
            path: PathBuf::from("tokenizer.json"),
            config: None,
            config_path: PathBuf::from("tokenizer_config.json"),
            kept: Vec::new(),
            segments: true,
            truncates_left: false,
        }
    }

    pub(super) fn json(&self) -> &str {
        &self.json
    }

    pub(super) fn error(&self, message: impl Into<String>) -> EncoderError {
        json::file_error(&self.path, message)
    }

    /// Whether the template's segments reach the model.
    pub(super) fn has_segments(&self) -> bool {
        self.segments
    }

    /// Whether the start of a text is cut off and not its end.
    pub(super) fn truncates_left(&self) -> bool {
        self.truncates_left
    }

    /// `model_max_length` of `tokenizer_config.json`.
    pub(super) fn max_length(&self) -> Result<Option<usize>, EncoderError> {
        const FIELD: &str = "model_max_length";
        match self.config.as_ref().and_then(|config| config.get(FIELD)) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64() {
                Some(length) if length >= NO_LIMIT => Ok(None),
                Some(length) if length >= 1.0 => Ok(Some(length as usize)),
                _ => {
                    let expected = "a positive whole number";
                    Err(json::field_error(&self.config_path, FIELD, expected, Some(value)))
                }
            },
        }
    }

    /// The limit that `tokenizer.json` itself has, and whether it cuts off the start of a text.
    pub(super) fn stored_truncation(&self) -> Option<(usize, bool)> {
        let json: Value = serde_json::from_str(&self.json).ok()?;
        let truncation = json.get("truncation")?;
        let length = usize::try_from(truncation.get("max_length")?.as_u64()?).ok()?;
        let left = truncation.get("direction").is_some_and(|side| side == "Left");
        Some((length, left))
    }

    /// The same files with a normalizer that lower-cases first; `None` when there is one already.
    pub(super) fn with_lower_case(&self) -> Option<TokenizerFiles> {
        let mut json: Value =
            serde_json::from_str(&self.json).expect("this text was parsed before");
        let normalizer = json["normalizer"].take();
        if lower_cases(&normalizer) {
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

    /// Writes every file, with `max_length` as `model_max_length`.
    pub(super) fn write(
        &self,
        directory: &Path,
        max_length: Option<usize>,
    ) -> Result<(), EncoderError> {
        json::write_bytes(&directory.join("tokenizer.json"), self.json.as_bytes())?;
        let mut config = match &self.config {
            Some(config) => config.clone(),
            None => self.fresh_config(),
        };
        match max_length {
            Some(length) => config["model_max_length"] = json!(length),
            None if self.max_length()?.is_some() => {
                config["model_max_length"] = Value::Null;
            }
            None => {}
        }
        json::write_json(&directory.join("tokenizer_config.json"), &config)?;
        for (name, bytes) in &self.kept {
            json::write_bytes(&directory.join(name), bytes)?;
        }
        Ok(())
    }

    /// Writes `tokenizer.json` with `max_length` as its truncation.
    pub(super) fn write_static(
        &self,
        directory: &Path,
        max_length: Option<usize>,
    ) -> Result<(), EncoderError> {
        let path = directory.join("tokenizer.json");
        let stored = self.stored_truncation();
        if max_length == stored.map(|(length, _)| length) {
            return json::write_bytes(&path, self.json.as_bytes());
        }
        let mut json: Value =
            serde_json::from_str(&self.json).expect("this text was parsed before");
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
        json::write_bytes(&path, json.to_string().as_bytes())
    }

    /// What transformers needs to open a bare `tokenizer.json`: its class and special tokens.
    fn fresh_config(&self) -> Value {
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
        // This class passes no segments on unless it is told to.
        let inputs = ["input_ids", "token_type_ids", "attention_mask"];
        config.insert("model_input_names".into(), json!(inputs));
        let json: Value = serde_json::from_str(&self.json).expect("this text was parsed before");
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

    /// transformers passes segments on when the tokenizer's `model_input_names` has them.
    fn read_segments(&self) -> Result<bool, EncoderError> {
        let Some(config) = &self.config else {
            return Ok(true);
        };
        if let Some(names) = config.get("model_input_names").filter(|names| !names.is_null()) {
            let expected = "an array of names";
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

    fn read_side(&self) -> Result<bool, EncoderError> {
        const FIELD: &str = "truncation_side";
        let config = self.config.as_ref();
        let side = config.map(|config| json::optional_str(config, FIELD, &self.config_path));
        match side.transpose()?.flatten() {
            // transformers, too, falls back to what `tokenizer.json` says.
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

fn lower_cases(normalizer: &Value) -> bool {
    match normalizer["type"].as_str() {
        Some("Lowercase") => true,
        Some("BertNormalizer") => normalizer["lowercase"] == true,
        Some("Sequence") => {
            normalizer["normalizers"].as_array().into_iter().flatten().any(lower_cases)
        }
        _ => false,
    }
}
