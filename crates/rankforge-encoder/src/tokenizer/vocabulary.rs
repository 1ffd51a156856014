//! Vocabularies of tokenizers that have no `tokenizer.json`.

use crate::error::EncoderError;
use crate::json;
use crate::tokenizer::class::{ModelKind, TokenizerClass};
use serde_json::{Map, Value, json};
use std::path::Path;

/// The content of a `tokenizer.json` with nothing but the vocabulary of a class, from `vocab.txt`
/// or from `vocab.json` and `merges.txt`. `name` is what the files call the class.
///
/// # Errors
/// When the directory has no vocabulary of the class, or a malformed one.
pub(super) fn tokenizer_json(
    directory: &Path,
    class: TokenizerClass,
    name: &str,
) -> Result<String, EncoderError> {
    let (model, decoder) = match class.model() {
        Some(ModelKind::WordPiece) if json::exists(&directory.join("vocab.txt"))? => {
            let vocab = lines(&directory.join("vocab.txt"))?;
            let decoder = json!({"type": "WordPiece", "prefix": "##", "cleanup": true});
            (json!({"type": "WordPiece", "vocab": vocab}), decoder)
        }
        Some(ModelKind::BytePairs)
            if json::exists(&directory.join("vocab.json"))?
                && json::exists(&directory.join("merges.txt"))? =>
        {
            let vocab = json::read_object(&directory.join("vocab.json"))?;
            let merges = merges(&directory.join("merges.txt"))?;
            let decoder = json!({
                "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
                "use_regex": true,
            });
            (json!({"type": "BPE", "vocab": vocab, "merges": merges}), decoder)
        }
        kind => return Err(missing(directory, name, kind)),
    };
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": decoder,
        "model": model,
    })
    .to_string())
}

/// The error for a directory without `tokenizer.json` and without the vocabulary of the class.
fn missing(directory: &Path, class: &str, kind: Option<ModelKind>) -> EncoderError {
    let other = match kind {
        Some(ModelKind::WordPiece) => "no vocab.txt",
        Some(ModelKind::BytePairs) => "no vocab.json with a merges.txt",
        Some(ModelKind::Unigram) | None => "no other file that can be converted",
    };
    let message = format!(
        "no such file, and for a {class} {other}; create it in Python with \
         transformers.AutoTokenizer.from_pretrained(DIRECTORY).save_pretrained(DIRECTORY)"
    );
    json::file_error(&directory.join("tokenizer.json"), message)
}

/// Reads a file of one token per line. The id of a token is the index of its last line, as in the
/// tokenizers crate, which ignores white space at the end of lines.
fn lines(path: &Path) -> Result<Map<String, Value>, EncoderError> {
    let mut vocabulary = Map::new();
    for (id, line) in text(path)?.lines().enumerate() {
        vocabulary.insert(line.trim_end().to_owned(), json!(id));
    }
    Ok(vocabulary)
}

/// Reads a file of one merge per line: two tokens with a space between them.
fn merges(path: &Path) -> Result<Vec<[String; 2]>, EncoderError> {
    let mut merges = Vec::new();
    for (index, line) in text(path)?.lines().enumerate() {
        if line.starts_with("#version") {
            continue;
        }
        let parts: Vec<&str> = line.split(' ').collect();
        let [first, second] = parts[..] else {
            let message = format!("line {}: expected two tokens, got \"{line}\"", index + 1);
            return Err(json::file_error(path, message));
        };
        merges.push([first.to_owned(), second.to_owned()]);
    }
    Ok(merges)
}

fn text(path: &Path) -> Result<String, EncoderError> {
    let bytes = json::read_bytes(path)?;
    String::from_utf8(bytes).map_err(|_| json::file_error(path, "invalid UTF-8"))
}
