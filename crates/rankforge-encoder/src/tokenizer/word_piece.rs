use crate::error::EncoderError;
use crate::json;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The content of a `tokenizer.json` for the BERT vocabulary in `vocab.txt` and the options in
/// `tokenizer_config.json`, converted as transformers does.
///
/// # Errors
/// When there is no such vocabulary, or when it lacks a required special token.
pub(super) fn tokenizer_json(
    directory: &Path,
    config: Option<&Value>,
    config_path: &Path,
) -> Result<String, EncoderError> {
    let nothing = json!({});
    let config = config.unwrap_or(&nothing);
    let class = json::optional_str(config, "tokenizer_class", config_path)?.unwrap_or("");
    let uses_bert_vocabulary = ["", "Bert", "DistilBert", "Electra"].iter().any(|family| {
        class.is_empty()
            || class.strip_suffix("Fast").unwrap_or(class) == format!("{family}Tokenizer")
    });
    let path = directory.join("vocab.txt");
    if !uses_bert_vocabulary || !json::exists(&path)? {
        return Err(json::file_error(
            &directory.join("tokenizer.json"),
            "no such file, and no BERT vocabulary in vocab.txt to convert; create the file in \
             Python with transformers.AutoTokenizer.from_pretrained(DIRECTORY)\
             .save_pretrained(DIRECTORY)",
        ));
    }
    let vocabulary = read_vocabulary(&path)?;
    let lower_case = json::optional_bool(config, "do_lower_case", config_path)?.unwrap_or(true);
    let chinese =
        json::optional_bool(config, "tokenize_chinese_chars", config_path)?.unwrap_or(true);
    let strip_accents = json::optional_bool(config, "strip_accents", config_path)?;

    let mut special = Vec::new();
    let mut ids = Map::new();
    for (role, default) in [
        ("unk_token", "[UNK]"),
        ("sep_token", "[SEP]"),
        ("pad_token", "[PAD]"),
        ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
    ] {
        let token = config.get(role).and_then(special_text).unwrap_or(default);
        let id = vocabulary.get(token);
        let is_required = matches!(role, "unk_token" | "sep_token" | "cls_token");
        let Some(id) = id else {
            if is_required {
                let message = format!("expected a line with the {role} {token:?}, got none");
                return Err(json::file_error(&path, message));
            }
            continue;
        };
        ids.insert(role.into(), json!([token, id]));
        special.push(json!({
            "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true,
        }));
    }
    special.sort_by_key(|token| token["id"].as_u64());
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special,
        "normalizer": {
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": chinese,
            "strip_accents": strip_accents, "lowercase": lower_case,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "BertProcessing", "sep": ids["sep_token"], "cls": ids["cls_token"],
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {
            "type": "WordPiece", "unk_token": ids["unk_token"][0],
            "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    })
    .to_string())
}

/// Reads a file of one token per line. The id of a token is the index of its line.
fn read_vocabulary(path: &Path) -> Result<Map<String, Value>, EncoderError> {
    let text = String::from_utf8(json::read_bytes(path)?)
        .map_err(|_| json::file_error(path, "invalid UTF-8"))?;
    let mut vocabulary = Map::new();
    for (id, line) in text.lines().enumerate() {
        if vocabulary.insert(line.to_owned(), json!(id)).is_some() {
            let message = format!("line {}: the token {line:?} is also on an earlier line", id + 1);
            return Err(json::file_error(path, message));
        }
    }
    Ok(vocabulary)
}

/// The text of a special token in `tokenizer_config.json`, which is a string, or an object with the
/// string as `content`.
fn special_text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}
