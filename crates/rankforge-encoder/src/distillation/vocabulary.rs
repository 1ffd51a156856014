//! The tokenizer of a distilled model: that of the teacher, less the tokens that texts do not have,
//! and with the tokens of a vocabulary.

use crate::error::EncoderError;
use crate::json;
use regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::Path;
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer as Inner,
};

/// A `tokenizer.json`, and its tokens in the order of their ids.
pub(super) struct Vocabulary {
    pub(super) json: Value,
    pub(super) tokens: Vec<String>,
}

impl Vocabulary {
    /// The vocabulary of a teacher's `tokenizer.json`, whose content is `teacher`, without the
    /// tokens that `removed` finds at their start and without special tokens, but for those of
    /// unknown words and of padding; then the tokens of `more`. A text of `more` that the tokenizer
    /// divides into several words becomes an added token.
    ///
    /// # Errors
    /// A tokenizer that is not WordPiece, or a vocabulary without a token. `path` is that of the
    /// tokenizer, for error messages.
    pub(super) fn new(
        teacher: &Value,
        more: &[String],
        removed: Option<&Regex>,
        path: &Path,
    ) -> Result<Vocabulary, EncoderError> {
        let kind = teacher["model"]["type"].as_str().unwrap_or("an unknown model");
        let (true, Some(vocabulary)) = (kind == "WordPiece", teacher["model"]["vocab"].as_object())
        else {
            let message = format!(
                "expected a WordPiece tokenizer, got {kind}: a vocabulary of another kind cannot \
                 be changed yet"
            );
            return Err(json::file_error(path, message));
        };
        let mut json = teacher.clone();
        for field in ["post_processor", "truncation", "padding"] {
            json[field] = Value::Null;
        }
        let kept = kept_added(teacher);
        let is_dropped = |token: &str| {
            let special = content(teacher).any(|added| added == token);
            special && !kept.contains(token) || removed.is_some_and(|regex| at_start(regex, token))
        };
        let mut ids: Vec<(&String, u64)> =
            vocabulary.iter().filter_map(|(token, id)| Some((token, id.as_u64()?))).collect();
        ids.sort_by_key(|(_, id)| *id);
        let mut tokens: Vec<String> =
            ids.into_iter().map(|(token, _)| token.clone()).filter(|t| !is_dropped(t)).collect();
        let known: HashSet<&str> = vocabulary.keys().map(String::as_str).collect();
        let (words, phrases) = divided(teacher, more, path)?;
        let mut seen: HashSet<String> = HashSet::new();
        // As in model2vec, the pattern removes words, but no phrase.
        let words =
            words.into_iter().filter(|token| !removed.is_some_and(|regex| at_start(regex, token)));
        let is_new = |token: &String| !known.contains(token.as_str()) && seen.insert(token.clone());
        let new: Vec<String> = words.chain(phrases.clone()).filter(is_new).collect();
        tokens.extend(new.iter().cloned());
        if tokens.is_empty() {
            let message = "expected at least one token after removing those of the pattern";
            return Err(json::file_error(path, message));
        }
        let id = |token: &str| tokens.iter().position(|known| known == token);
        let mut added: Vec<Value> = Vec::new();
        for entry in teacher["added_tokens"].as_array().into_iter().flatten() {
            let mut entry = entry.clone();
            let token = entry["content"].as_str().unwrap_or_default();
            if let Some(id) = id(token).filter(|_| kept.contains(token)) {
                entry["id"] = json!(id);
                added.push(entry);
            }
        }
        for phrase in new.iter().filter(|token| phrases.contains(token)) {
            added.push(json!({
                "id": id(phrase), "content": phrase, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": true, "special": false,
            }));
        }
        json["added_tokens"] = added.into();
        let numbered = tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id)));
        json["model"]["vocab"] = Value::Object(numbered.collect::<Map<_, _>>());
        Ok(Vocabulary { json, tokens })
    }
}

/// The contents of the added tokens.
fn content(tokenizer: &Value) -> impl Iterator<Item = &str> {
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    added.filter_map(|token| token["content"].as_str())
}

/// The added tokens that a static model keeps: those of unknown words and of padding.
fn kept_added(tokenizer: &Value) -> HashSet<String> {
    let unknown = tokenizer["model"]["unk_token"].as_str();
    let padding = tokenizer["padding"]["pad_token"].as_str().unwrap_or("[PAD]");
    unknown.into_iter().chain([padding]).map(str::to_owned).collect()
}

fn at_start(regex: &Regex, token: &str) -> bool {
    regex.find(token).is_some_and(|found| found.start() == 0)
}

/// The texts that the tokenizer takes as one word each, normalised, and the others.
///
/// # Errors
/// A tokenizer that cannot be read, or that fails on a text.
fn divided(
    tokenizer: &Value,
    texts: &[String],
    path: &Path,
) -> Result<(Vec<String>, Vec<String>), EncoderError> {
    let failed = |error: tokenizers::Error| json::file_error(path, error.to_string());
    let inner: Inner = tokenizer.to_string().parse().map_err(failed)?;
    let (mut words, mut phrases) = (Vec::new(), Vec::new());
    for text in texts {
        let mut normalized = tokenizers::NormalizedString::from(text.as_str());
        if let Some(normalizer) = inner.get_normalizer() {
            tokenizers::Normalizer::normalize(normalizer, &mut normalized).map_err(failed)?;
        }
        let whole = normalized.get().trim().to_owned();
        let mut split = PreTokenizedString::from(normalized);
        if let Some(pre_tokenizer) = inner.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut split).map_err(failed)?;
        }
        let pieces = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
        let pieces: Vec<&str> =
            pieces.iter().map(|(piece, ..)| *piece).filter(|piece| !piece.is_empty()).collect();
        match pieces[..] {
            [] => {}
            [word] => words.push(word.to_owned()),
            _ => phrases.push(whole),
        }
    }
    Ok((words, phrases))
}
