//! The tokenizer of a distilled model: that of the teacher, less the tokens that texts do not have,
//! and with the tokens of a vocabulary.

use crate::distillation::merges::Merges;
use crate::error::EncoderError;
use crate::json;
use regex::Regex;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use tokenizers::{
    Decoder, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer as Inner,
};

/// A `tokenizer.json`, and its tokens in the order of their ids.
pub(super) struct Vocabulary {
    pub(super) json: Value,
    pub(super) tokens: Vec<Token>,
}

/// A token of a distilled model.
pub(super) struct Token {
    text: String,
    pub(super) origin: Origin,
    /// The score of a Unigram model; 0 in others.
    score: f64,
}

/// What the row of a token is computed from.
pub(super) enum Origin {
    /// The token with this id in the teacher's tokenizer.
    Id(u32),
    /// A text that the teacher's tokenizer divides into several tokens.
    Text(String),
}

/// The model of a tokenizer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    WordPiece,
    Bpe,
    Unigram,
}

/// The tokenizer of a teacher.
pub(super) struct Teacher<'a> {
    /// The content of `tokenizer.json`.
    pub(super) tokenizer: &'a Value,
    /// The content of `tokenizer_config.json`, which may name the tokens of padding and of unknown
    /// words.
    pub(super) config: &'a Value,
    /// The path of `tokenizer.json`, for error messages.
    pub(super) path: &'a Path,
}

impl Vocabulary {
    /// The vocabulary of a teacher without the tokens that `removed` finds at their start and
    /// without special tokens, but for those of unknown words and of padding; then the tokens of
    /// `more`. A text of `more` that the tokenizer divides into several words becomes an added
    /// token; in BPE, a word brings the pieces that it is merged from.
    ///
    /// # Errors
    /// A tokenizer that is not WordPiece, BPE or Unigram, or a vocabulary without a token.
    pub(super) fn new(
        teacher: &Teacher<'_>,
        more: &[String],
        removed: Option<&Regex>,
    ) -> Result<Vocabulary, EncoderError> {
        let Teacher { tokenizer, path, .. } = *teacher;
        let malformed = |message: &str| json::file_error(path, message);
        let kind = kind(tokenizer).map_err(|message| json::file_error(path, message))?;
        let mut json = tokenizer.clone();
        for field in ["post_processor", "truncation", "padding"] {
            json[field] = Value::Null;
        }
        prepend_space(&mut json["pre_tokenizer"]);
        let all = read(tokenizer, kind).ok_or_else(|| malformed("malformed vocabulary"))?;
        let known: HashSet<String> = all.iter().map(|token| token.text.clone()).collect();
        let lowest = all.iter().map(|token| token.score).fold(0.0, f64::min);
        let (unknown, kept) = (teacher.unknown(kind), teacher.kept(kind));
        let special: HashSet<&str> = content(tokenizer).collect();
        let is_dropped = |token: &Token| {
            let text = token.text.as_str();
            let dropped = special.contains(text) && !kept.contains(text);
            dropped || removed.is_some_and(|regex| at_start(regex, text))
        };
        let (dropped, mut tokens): (Vec<Token>, Vec<Token>) = all.into_iter().partition(is_dropped);

        let (words, phrases) = divided(&json, more, path)?;
        // As in model2vec, the pattern removes words, but no phrase.
        let words = words
            .into_iter()
            .filter(|(token, _)| !removed.is_some_and(|regex| at_start(regex, token)));
        let mut seen = known;
        let mut add = |text: &str, origin: String| {
            if seen.insert(text.to_owned()) {
                let origin = Origin::Text(origin);
                tokens.push(Token { text: text.to_owned(), origin, score: lowest });
            }
        };
        if kind == Kind::Bpe {
            let merges = Merges::read(&json["model"]["merges"]);
            let merges = merges.ok_or_else(|| malformed("malformed merges"))?;
            let mut merges =
                merges.without(&dropped.iter().map(|token| token.text.as_str()).collect());
            let inner = parsed(&json, path)?;
            for (token, text) in words {
                let mut parts = merges.add(&token);
                parts.sort();
                add(&token, text);
                parts.iter().for_each(|part| add(part, decoded(&inner, part)));
            }
            json["model"]["merges"] = merges.json();
        } else {
            words.for_each(|(token, text)| add(&token, text));
        }
        phrases.iter().for_each(|phrase| add(phrase, phrase.clone()));
        if tokens.is_empty() {
            let message = "expected at least one token after removing those of the pattern";
            return Err(malformed(message));
        }
        json["added_tokens"] = added_tokens(tokenizer, &tokens, &kept, &phrases).into();
        write(&mut json["model"], kind, &tokens, unknown.as_deref());
        Ok(Vocabulary { json, tokens })
    }
}

impl Teacher<'_> {
    /// The token of unknown words, if there is one.
    fn unknown(&self, kind: Kind) -> Option<String> {
        let model = &self.tokenizer["model"];
        let of_model = match kind {
            Kind::WordPiece | Kind::Bpe => model["unk_token"].as_str(),
            Kind::Unigram => {
                let id = model["unk_id"].as_u64().and_then(|id| usize::try_from(id).ok());
                id.and_then(|id| model["vocab"][id][0].as_str())
            }
        };
        of_model.or(named(&self.config["unk_token"])).map(str::to_owned)
    }

    /// The added tokens that a static model keeps: those of unknown words and of padding.
    fn kept(&self, kind: Kind) -> HashSet<String> {
        let padding = self.tokenizer["padding"]["pad_token"].as_str();
        let padding = padding.or(named(&self.config["pad_token"])).unwrap_or("[PAD]");
        self.unknown(kind).into_iter().chain([padding.to_owned()]).collect()
    }
}

/// The token that an entry of `tokenizer_config.json` names.
fn named(token: &Value) -> Option<&str> {
    token.as_str().or(token["content"].as_str())
}

/// The model of a tokenizer, if its vocabulary can be changed.
///
/// # Errors
/// Why it cannot.
fn kind(tokenizer: &Value) -> Result<Kind, String> {
    match tokenizer["model"]["type"].as_str() {
        Some("WordPiece") => Ok(Kind::WordPiece),
        Some("BPE") => Ok(Kind::Bpe),
        Some("Unigram") => Ok(Kind::Unigram),
        other => {
            let got = other.unwrap_or("an unknown model");
            Err(format!("expected a WordPiece, BPE or Unigram tokenizer, got {got}"))
        }
    }
}

/// Makes the first word of a text a token like that word elsewhere, where words begin with a space.
fn prepend_space(pre_tokenizer: &mut Value) {
    if pre_tokenizer["type"] == "ByteLevel" {
        pre_tokenizer["add_prefix_space"] = json!(true);
    }
    let steps = pre_tokenizer.get_mut("pretokenizers").and_then(Value::as_array_mut);
    steps.into_iter().flatten().for_each(prepend_space);
}

/// All tokens in the order of their ids: those of the model, then added tokens that it lacks.
fn read(tokenizer: &Value, kind: Kind) -> Option<Vec<Token>> {
    let vocabulary = &tokenizer["model"]["vocab"];
    let token = |text: &str, id: u64, score: f64| {
        let origin = Origin::Id(u32::try_from(id).ok()?);
        Some(Token { text: text.to_owned(), origin, score })
    };
    let mut tokens: Vec<Token> = match kind {
        Kind::WordPiece | Kind::Bpe => {
            let ids = vocabulary.as_object()?.iter();
            let mut ids: Vec<(&String, u64)> =
                ids.map(|(text, id)| Some((text, id.as_u64()?))).collect::<Option<_>>()?;
            ids.sort_by_key(|(_, id)| *id);
            ids.into_iter().map(|(text, id)| token(text, id, 0.0)).collect::<Option<_>>()?
        }
        Kind::Unigram => {
            let pieces = vocabulary.as_array()?.iter().zip(0..);
            let piece =
                |(piece, id): (&Value, u64)| token(piece[0].as_str()?, id, piece[1].as_f64()?);
            pieces.map(piece).collect::<Option<_>>()?
        }
    };
    let known: HashSet<String> = tokens.iter().map(|token| token.text.clone()).collect();
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let mut added: Vec<(&str, u64)> = added
        .map(|token| Some((token["content"].as_str()?, token["id"].as_u64()?)))
        .collect::<Option<_>>()?;
    added.sort_by_key(|(_, id)| *id);
    for (text, id) in added.into_iter().filter(|(text, _)| !known.contains(*text)) {
        tokens.push(token(text, id, 0.0)?);
    }
    Some(tokens)
}

/// The added tokens of the teacher that are kept, and one for each phrase.
fn added_tokens(
    tokenizer: &Value,
    tokens: &[Token],
    kept: &HashSet<String>,
    phrases: &[String],
) -> Vec<Value> {
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.text.as_str(), id)).collect();
    let mut added: Vec<Value> = Vec::new();
    for entry in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        let mut entry = entry.clone();
        let token = entry["content"].as_str().unwrap_or_default();
        if let Some(id) = ids.get(token).filter(|_| kept.contains(token)) {
            entry["id"] = json!(id);
            added.push(entry);
        }
    }
    let is_phrase =
        |token: &&Token| matches!(token.origin, Origin::Text(_)) && phrases.contains(&token.text);
    for token in tokens.iter().filter(is_phrase) {
        added.push(json!({
            "id": ids[token.text.as_str()], "content": token.text, "single_word": false,
            "lstrip": false, "rstrip": false, "normalized": true, "special": false,
        }));
    }
    added
}

/// Writes the vocabulary of a model.
fn write(model: &mut Value, kind: Kind, tokens: &[Token], unknown: Option<&str>) {
    let numbered = tokens.iter().enumerate();
    match kind {
        Kind::WordPiece | Kind::Bpe => {
            let ids = numbered.map(|(id, token)| (token.text.clone(), json!(id)));
            model["vocab"] = Value::Object(ids.collect::<Map<_, _>>());
        }
        Kind::Unigram => {
            let pieces = tokens.iter().map(|token| json!([token.text, token.score]));
            model["vocab"] = pieces.collect();
        }
    }
    let place = unknown.and_then(|text| tokens.iter().position(|token| token.text == text));
    match kind {
        Kind::WordPiece => {}
        Kind::Bpe => model["unk_token"] = place.map_or(Value::Null, |_| json!(unknown)),
        Kind::Unigram => model["unk_id"] = json!(place),
    }
}

/// The contents of the added tokens.
fn content(tokenizer: &Value) -> impl Iterator<Item = &str> {
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    added.filter_map(|token| token["content"].as_str())
}

fn at_start(regex: &Regex, token: &str) -> bool {
    regex.find(token).is_some_and(|found| found.start() == 0)
}

fn parsed(tokenizer: &Value, path: &Path) -> Result<Inner, EncoderError> {
    let parsed = tokenizer.to_string().parse();
    parsed.map_err(|error: tokenizers::Error| json::file_error(path, error.to_string()))
}

/// The text of a token, without the mark of a space before it.
fn decoded(tokenizer: &Inner, token: &str) -> String {
    let text = match tokenizer.get_decoder() {
        None => None,
        Some(decoder) => decoder.decode(vec![token.to_owned()]).ok(),
    };
    text.map_or(token.to_owned(), |text| text.trim().to_owned())
}

/// A text that a tokenizer takes as one word: as its model sees it, and as it was given.
type Word = (String, String);

/// The texts that the tokenizer takes as one word each, and the others, normalised.
///
/// # Errors
/// A tokenizer that cannot be read, or that fails on a text.
fn divided(
    tokenizer: &Value,
    texts: &[String],
    path: &Path,
) -> Result<(Vec<Word>, Vec<String>), EncoderError> {
    let failed = |error: tokenizers::Error| json::file_error(path, error.to_string());
    let inner = parsed(tokenizer, path)?;
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
            [word] => words.push((word.to_owned(), text.clone())),
            _ => phrases.push(whole),
        }
    }
    Ok((words, phrases))
}
