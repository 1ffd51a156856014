use crate::EncoderError;
use crate::directory::json;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Makes the `tokenizer.json` of a BERT vocabulary in `vocab.txt`, with the options of
/// `tokenizer_config.json`, as transformers converts it.
pub(super) fn tokenizer_json(
    directory: &Path,
    config: Option<&Value>,
    config_path: &Path,
) -> Result<String, EncoderError> {
    let nothing = json!({});
    let config = config.unwrap_or(&nothing);
    let class = json::optional_str(config, "tokenizer_class", config_path)?.unwrap_or("");
    let like_bert = ["", "Bert", "DistilBert", "Electra"].iter().any(|family| {
        class.is_empty()
            || class.strip_suffix("Fast").unwrap_or(class) == format!("{family}Tokenizer")
    });
    let path = directory.join("vocab.txt");
    if !like_bert || !json::exists(&path)? {
        return Err(json::file_error(
            &directory.join("tokenizer.json"),
            "no such file, and no BERT vocabulary in vocab.txt to make it from; in Python, \
             transformers.AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY) writes it",
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
        let needed = matches!(role, "unk_token" | "sep_token" | "cls_token");
        let Some(id) = id else {
            if needed {
                return Err(json::file_error(&path, format!("the {role} {token:?} is not in it")));
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

/// One token a line; its id is the line's number.
fn read_vocabulary(path: &Path) -> Result<Map<String, Value>, EncoderError> {
    let text = String::from_utf8(json::read_bytes(path)?)
        .map_err(|_| json::file_error(path, "not UTF-8 text"))?;
    let mut vocabulary = Map::new();
    for (id, line) in text.lines().enumerate() {
        if vocabulary.insert(line.to_owned(), json!(id)).is_some() {
            return Err(json::file_error(path, format!("line {}: {line:?} occurs twice", id + 1)));
        }
    }
    Ok(vocabulary)
}

/// A special token is its text, or an object with the text as `content`.
fn special_text(token: &Value) -> Option<&str> {
    token.as_str().or_else(|| token.get("content")?.as_str())
}
