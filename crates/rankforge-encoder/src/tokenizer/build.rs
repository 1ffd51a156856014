//! Building a tokenizer from `tokenizer.json` by the rules of its class.

use crate::tokenizer::added_tokens::NamedTokens;
use crate::tokenizer::class::{ModelKind, TokenizerClass};
use crate::tokenizer::class_rules::{BuildError, ClassSettings, post_processor, role, text_steps};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, from_str, from_value, json};
use std::collections::BTreeMap;
use tokenizers::{AddedToken, PostProcessorWrapper, Tokenizer};

/// The parts of a `tokenizer.json`. They stay text, as a vocabulary may have megabytes.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct TokenizerJson<'a> {
    #[serde(borrow)]
    version: Option<&'a RawValue>,
    #[serde(borrow)]
    truncation: Option<&'a RawValue>,
    #[serde(borrow)]
    padding: Option<&'a RawValue>,
    #[serde(borrow)]
    added_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    normalizer: Option<&'a RawValue>,
    #[serde(borrow)]
    pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow)]
    post_processor: Option<&'a RawValue>,
    #[serde(borrow)]
    decoder: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
}

/// A token of the `added_tokens` of a `tokenizer.json`.
#[derive(Serialize, Deserialize)]
struct StoredToken {
    id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

/// A tokenizer, and the content of the `tokenizer.json` that gives it; `None` where that is what
/// the file says.
pub(super) struct Built {
    pub tokenizer: Tokenizer,
    pub json: Option<String>,
}

impl<'a> TokenizerJson<'a> {
    pub(super) fn parse(text: &'a str) -> Result<TokenizerJson<'a>, serde_json::Error> {
        from_str(text)
    }

    /// The added tokens with their ids, in the order of the file.
    pub(super) fn stored_tokens(&self) -> Result<Vec<(u32, AddedToken)>, serde_json::Error> {
        let Some(tokens) = self.added_tokens else { return Ok(Vec::new()) };
        let tokens: Vec<StoredToken> = from_str(tokens.get())?;
        Ok(tokens.into_iter().map(|stored| (stored.id, stored.token)).collect())
    }

    /// The token that it pads with.
    pub(super) fn padding_token(&self) -> Option<String> {
        let padding: Value = from_str(self.padding?.get()).ok()?;
        padding.get("pad_token")?.as_str().map(str::to_owned)
    }

    /// Builds the tokenizer of `text`, which these parts are of, with the named tokens.
    pub(super) fn build(
        &self,
        text: &str,
        class: TokenizerClass,
        settings: ClassSettings,
        tokens: &NamedTokens,
    ) -> Result<Built, BuildError> {
        let stored = self.stored_tokens()?;
        let Some(kind) = class.model() else {
            return self.build_backend(text, &stored, tokens);
        };
        let [normalizer, pre_tokenizer] = text_steps(class, settings, self.precompiled());
        let (normalizer, pre_tokenizer) = (raw(&normalizer), raw(&pre_tokenizer));
        let model = self.class_model(class, kind, tokens)?;
        let all = tokens.added_to(&[]);
        let added = raw(&unnumbered(&all));
        let parts = TokenizerJson {
            normalizer: Some(&normalizer),
            pre_tokenizer: Some(&pre_tokenizer),
            post_processor: None,
            added_tokens: Some(&added),
            model: Some(&model),
            ..self.clone()
        };
        let mut tokenizer: Tokenizer = parts.to_text().parse().map_err(invalid)?;
        let post_processor = post_processor(class, settings, tokens, &tokenizer)?;
        let processor: PostProcessorWrapper = from_value(post_processor.clone())?;
        tokenizer.with_post_processor(Some(processor));
        let (post_processor, added) = (raw(&post_processor), numbered(&all, &tokenizer));
        let parts = TokenizerJson {
            post_processor: Some(&post_processor),
            added_tokens: Some(&added),
            ..parts
        };
        let json = (!parts.says_the_same(self)).then(|| parts.to_text());
        Ok(Built { tokenizer, json })
    }

    /// The tokenizer as the file has it, with the named tokens.
    fn build_backend(
        &self,
        text: &str,
        stored: &[(u32, AddedToken)],
        tokens: &NamedTokens,
    ) -> Result<Built, BuildError> {
        let existing: Vec<AddedToken> = stored.iter().map(|(_, token)| token.clone()).collect();
        let all = tokens.added_to(&existing);
        if all == existing {
            return Ok(Built { tokenizer: text.parse().map_err(invalid)?, json: None });
        }
        let added = raw(&unnumbered(&all));
        let parts = TokenizerJson { added_tokens: Some(&added), ..self.clone() };
        let tokenizer = parts.to_text().parse().map_err(invalid)?;
        let added = numbered(&all, &tokenizer);
        let parts = TokenizerJson { added_tokens: Some(&added), ..parts };
        Ok(Built { tokenizer, json: Some(parts.to_text()) })
    }

    /// The table of SentencePiece in the normalizer, which is all that the classes of Unigram
    /// models take from it.
    fn precompiled(&self) -> Option<Value> {
        let normalizer: Value = from_str(self.normalizer?.get()).ok()?;
        let steps = match normalizer.get("normalizers") {
            Some(Value::Array(steps)) => steps.clone(),
            _ => vec![normalizer],
        };
        steps.into_iter().find(|step| step["type"] == "Precompiled")
    }

    /// The model of a class with the vocabulary of this file.
    fn class_model(
        &self,
        class: TokenizerClass,
        kind: ModelKind,
        tokens: &NamedTokens,
    ) -> Result<Box<RawValue>, BuildError> {
        let model = self.model.ok_or_else(|| BuildError::Invalid("it has no model".to_owned()))?;
        let fields: BTreeMap<String, &RawValue> = from_str(model.get())?;
        let vocab = fields.get("vocab").map_or("null", |vocab| vocab.get()).trim();
        let is_list = vocab.starts_with('[');
        let options = match kind {
            ModelKind::WordPiece => json!({
                "type": "WordPiece", "unk_token": role(tokens, "unk_token")?,
                "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
            }),
            ModelKind::BytePairs => json!({
                "type": "BPE", "dropout": null, "unk_token": null,
                "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false,
                "byte_fallback": false, "ignore_merges": false,
            }),
            ModelKind::Unigram if is_list => json!({
                "type": "Unigram", "unk_id": unknown_id(class, vocab, tokens)?,
                "byte_fallback": false,
            }),
            ModelKind::Unigram => {
                let message = format!(
                    "a {} needs a Unigram model, whose vocabulary is an array of pairs of a token \
                     and its score; this is none. Name the class of the tokenizer as \
                     tokenizer_class in tokenizer_config.json, or PreTrainedTokenizerFast to use \
                     tokenizer.json as it is",
                    class.name()
                );
                return Err(BuildError::Model(message));
            }
        };
        let converted = match kind {
            ModelKind::WordPiece | ModelKind::BytePairs if is_list => Some(indices(vocab)?),
            _ => None,
        };
        // The options, with the vocabulary before the bracket at their end.
        let mut model = options.to_string();
        model.pop();
        model += &format!(",\"vocab\":{}", converted.as_deref().unwrap_or(vocab));
        if kind == ModelKind::BytePairs {
            let merges = fields.get("merges").map_or("[]", |merges| merges.get());
            model += &format!(",\"merges\":{merges}");
        }
        Ok(RawValue::from_string(model + "}")?)
    }

    fn to_text(&self) -> String {
        serde_json::to_string(self).expect("parts of JSON are JSON")
    }

    /// Whether all parts have equal values.
    fn says_the_same(&self, other: &TokenizerJson<'_>) -> bool {
        let value = |part: Option<&RawValue>| {
            part.map_or(Value::Null, |part| from_str(part.get()).unwrap_or_default())
        };
        let parts = [
            (self.normalizer, other.normalizer),
            (self.pre_tokenizer, other.pre_tokenizer),
            (self.post_processor, other.post_processor),
            (self.added_tokens, other.added_tokens),
        ];
        parts.into_iter().all(|(a, b)| value(a) == value(b))
            && model_options(self.model) == model_options(other.model)
    }
}

/// The options of a model without its vocabulary, and without those that say nothing.
fn model_options(model: Option<&RawValue>) -> BTreeMap<String, Value> {
    let fields: BTreeMap<String, &RawValue> =
        model.and_then(|model| from_str(model.get()).ok()).unwrap_or_default();
    let options = fields.into_iter().filter(|(name, _)| name != "vocab" && name != "merges");
    let options = options.map(|(name, text)| (name, from_str(text.get()).unwrap_or_default()));
    let says_nothing =
        |value: &Value| value.is_null() || *value == json!(false) || *value == json!("");
    options.filter(|(_, value)| !says_nothing(value)).collect()
}

/// The id that a Unigram model gives to what it does not know.
fn unknown_id(
    class: TokenizerClass,
    vocab: &str,
    tokens: &NamedTokens,
) -> Result<usize, BuildError> {
    if class == TokenizerClass::XlmRoberta {
        return Ok(3);
    }
    let unknown = role(tokens, "unk_token")?;
    let vocab: Vec<(String, f64)> = from_str(vocab)?;
    Ok(vocab.iter().position(|(token, _)| token == unknown).unwrap_or(0))
}

/// A vocabulary of indices from an array of tokens, or of pairs of a token and its score.
fn indices(vocab: &str) -> Result<String, BuildError> {
    let entries: Vec<Value> = from_str(vocab)?;
    let mut ids = serde_json::Map::new();
    for (id, entry) in entries.iter().enumerate() {
        let token = entry.as_str().or_else(|| entry.get(0)?.as_str());
        let token = token.ok_or_else(|| BuildError::Invalid(format!("token {id} is no string")))?;
        ids.insert(token.to_owned(), json!(id));
    }
    Ok(Value::Object(ids).to_string())
}

/// Added tokens without ids: the tokenizers crate gives them, in this order.
fn unnumbered(tokens: &[AddedToken]) -> Vec<StoredToken> {
    tokens.iter().map(|token| StoredToken { id: 0, token: token.clone() }).collect()
}

/// Added tokens with their ids, in the order of these. Of several tokens with one id, which a
/// vocabulary may have, the later ones get another: readers look the ids up by the texts.
fn numbered(tokens: &[AddedToken], tokenizer: &Tokenizer) -> Box<RawValue> {
    let mut numbered: BTreeMap<u32, &AddedToken> = BTreeMap::new();
    let mut repeated = Vec::new();
    for token in tokens {
        match tokenizer.token_to_id(&token.content) {
            Some(id) if !numbered.contains_key(&id) => drop(numbered.insert(id, token)),
            _ => repeated.push(token),
        }
    }
    let next = numbered.last_key_value().map_or(0, |(id, _)| id.saturating_add(1));
    numbered.extend((next..).zip(repeated));
    let stored = numbered.into_iter();
    let stored = stored.map(|(id, token)| StoredToken { id, token: token.clone() });
    raw(&stored.collect::<Vec<_>>())
}

fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("these values can be written as JSON")
}

fn invalid(error: tokenizers::Error) -> BuildError {
    BuildError::Invalid(error.to_string())
}
