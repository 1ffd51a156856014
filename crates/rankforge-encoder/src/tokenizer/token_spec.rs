use crate::error::EncoderError;
use crate::json;
use serde::Deserialize;
use serde_json::{Value, from_value};
use std::path::Path;
use tokenizers::AddedToken;

/// An added token as a file describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct TokenSpec {
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    /// Whether it is searched for in the normalized text. By default a special token is not.
    pub normalized: Option<bool>,
    pub special: bool,
}

impl TokenSpec {
    /// A special token without any other property.
    pub(super) fn special(content: &str) -> TokenSpec {
        TokenSpec { content: content.to_owned(), special: true, ..TokenSpec::default() }
    }

    /// The token for the tokenizers crate.
    pub(super) fn token(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!self.special))
    }

    /// A token that a file gives as an object.
    pub(super) fn read(value: &Value, field: &str, path: &Path) -> Result<TokenSpec, EncoderError> {
        let error = || {
            let expected = "an object with the token as `content` and true or false for its flags";
            json::field_error(path, field, expected, Some(value))
        };
        let spec: TokenSpec = from_value(value.clone()).map_err(|_| error())?;
        if value.get("content").is_some() { Ok(spec) } else { Err(error()) }
    }
}

impl From<&AddedToken> for TokenSpec {
    fn from(token: &AddedToken) -> TokenSpec {
        TokenSpec {
            content: token.content.clone(),
            single_word: token.single_word,
            lstrip: token.lstrip,
            rstrip: token.rstrip,
            normalized: Some(token.normalized),
            special: token.special,
        }
    }
}
