//! What a tokenizer class of transformers builds around its vocabulary.

use crate::tokenizer::added_tokens::NamedTokens;
use crate::tokenizer::class::{ModelKind, TokenizerClass};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

/// The settings in `tokenizer_config.json` that classes build their tokenizers from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClassSettings {
    pub do_lower_case: Option<bool>,
    pub tokenize_chinese_chars: Option<bool>,
    pub strip_accents: Option<bool>,
    pub add_prefix_space: Option<bool>,
    pub trim_offsets: Option<bool>,
}

/// Why a tokenizer cannot be built: a field of `tokenizer.json` or of a special token, or the whole
/// file.
#[derive(Debug)]
pub(super) enum BuildError {
    /// The file is not a tokenizer.
    Invalid(String),
    /// What `tokenizer.json` says is not what the class needs.
    Model(String),
    /// The files give no token for this role.
    NoToken(&'static str),
}

impl From<serde_json::Error> for BuildError {
    fn from(error: serde_json::Error) -> BuildError {
        BuildError::Invalid(error.to_string())
    }
}

/// The normalizer and the pre-tokenizer of a class.
pub(super) fn text_steps(
    class: TokenizerClass,
    settings: ClassSettings,
    precompiled: Option<Value>,
) -> [Value; 2] {
    match class.model() {
        Some(ModelKind::WordPiece) => [
            json!({
                "type": "BertNormalizer", "clean_text": true,
                "handle_chinese_chars": settings.tokenize_chinese_chars.unwrap_or(true),
                "strip_accents": settings.strip_accents,
                "lowercase": settings.do_lower_case.unwrap_or(true),
            }),
            json!({"type": "BertPreTokenizer"}),
        ],
        Some(ModelKind::BytePairs) => [
            Value::Null,
            json!({
                "type": "ByteLevel",
                "add_prefix_space": settings.add_prefix_space.unwrap_or(false),
                "trim_offsets": true, "use_regex": true,
            }),
        ],
        Some(ModelKind::Unigram) | None => {
            let prepends = settings.add_prefix_space.unwrap_or(true);
            let scheme = if prepends { "always" } else { "never" };
            let metaspace = json!({
                "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": scheme,
                "split": true,
            });
            let steps = json!([{"type": "WhitespaceSplit"}, metaspace]);
            [precompiled.unwrap_or_default(), json!({"type": "Sequence", "pretokenizers": steps})]
        }
    }
}

/// The post-processor of a class, which adds its special tokens.
pub(super) fn post_processor(
    class: TokenizerClass,
    settings: ClassSettings,
    tokens: &NamedTokens,
    tokenizer: &Tokenizer,
) -> Result<Value, BuildError> {
    let token = |field: &'static str| -> Result<(&str, u32), BuildError> {
        let text = role(tokens, field)?;
        // All special tokens were added.
        let id = tokenizer.token_to_id(text).ok_or(BuildError::NoToken(field))?;
        Ok((text, id))
    };
    Ok(match class {
        TokenizerClass::MPNet => roberta(token("cls_token")?, token("sep_token")?, true, false),
        TokenizerClass::Roberta => roberta(
            token("cls_token")?,
            token("sep_token")?,
            settings.trim_offsets.unwrap_or(true),
            settings.add_prefix_space.unwrap_or(false),
        ),
        TokenizerClass::XlmRoberta | TokenizerClass::Camembert => {
            let (first, last) = (token("bos_token")?, token("eos_token")?);
            let pair = [special(first.0, 0), text("A", 0), special(last.0, 0)];
            let second = [special(last.0, 0), text("B", 0), special(last.0, 0)];
            template(&pair, &second, [first, last])
        }
        TokenizerClass::Bert | TokenizerClass::DistilBert | TokenizerClass::Backend => {
            let (first, last) = (token("cls_token")?, token("sep_token")?);
            let single = [special(first.0, 0), text("A", 0), special(last.0, 0)];
            let second = [text("B", 1), special(last.0, 1)];
            template(&single, &second, [first, last])
        }
    })
}

fn roberta(cls: (&str, u32), sep: (&str, u32), trims: bool, prepends: bool) -> Value {
    json!({
        "type": "RobertaProcessing", "sep": sep, "cls": cls, "trim_offsets": trims,
        "add_prefix_space": prepends,
    })
}

/// A template for a single text, and for a pair by the pieces that follow those of the single text.
fn template(single: &[Value], second: &[Value], tokens: [(&str, u32); 2]) -> Value {
    let mut special = serde_json::Map::new();
    for (token, id) in tokens {
        special.insert(token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]}));
    }
    let pair = [single, second].concat();
    json!({
        "type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": special,
    })
}

fn special(token: &str, segment: u32) -> Value {
    json!({"SpecialToken": {"id": token, "type_id": segment}})
}

fn text(name: &str, segment: u32) -> Value {
    json!({"Sequence": {"id": name, "type_id": segment}})
}

/// The text of the special token of a role that the class cannot do without.
pub(super) fn role<'a>(
    tokens: &'a NamedTokens,
    field: &'static str,
) -> Result<&'a str, BuildError> {
    tokens.role(field).ok_or(BuildError::NoToken(field))
}
