//! The inputs and outputs of a tokenizer.

/// A text that is prepended to inputs, such as "query: ", and its length in tokens.
///
/// Created by [`Tokenizer::prompt`](crate::Tokenizer::prompt), as its length depends on the
/// tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prompt {
    /// See [`Prompt::text`].
    pub(crate) text: String,
    /// See [`Prompt::tokens`].
    pub(crate) tokens: usize,
}

impl Prompt {
    /// The text that is prepended.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Number of leading tokens of a sequence that belong to the prompt, including the special
    /// tokens before it.
    pub fn tokens(&self) -> usize {
        self.tokens
    }
}

/// A text and its prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Text<'a> {
    /// The text without its prompt.
    pub text: &'a str,
    /// The prompt, which the tokenizer prepends.
    pub prompt: Option<&'a Prompt>,
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Text<'a> {
        Text { text, prompt: None }
    }
}

impl<'a> From<&'a String> for Text<'a> {
    fn from(text: &'a String) -> Text<'a> {
        Text::from(text.as_str())
    }
}

/// The text or the pair of texts of one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Input<'a> {
    /// The first or only text.
    pub first: Text<'a>,
    /// The second text of a pair. It has no prompt: as in sentence-transformers, the prompt of a
    /// pair is prepended to its first text.
    pub second: Option<&'a str>,
}

impl<'a> Input<'a> {
    /// A single text.
    pub fn single(text: impl Into<Text<'a>>) -> Input<'a> {
        Input { first: text.into(), second: None }
    }

    /// A pair of texts. A prompt of `second` is ignored.
    pub fn pair(first: impl Into<Text<'a>>, second: impl Into<Text<'a>>) -> Input<'a> {
        Input { first: first.into(), second: Some(second.into().text) }
    }
}

/// The tokens of one sequence, including special tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Vocabulary id of each token.
    pub ids: Vec<u32>,
    /// Segment id of each token.
    pub type_ids: Vec<u32>,
    /// Number of leading tokens that belong to the prompt.
    pub prompt_tokens: usize,
    /// Whether truncation removed tokens.
    pub truncated: bool,
}
