//! Tokenising texts word by word.
//!
//! Most words of a text occurred in earlier texts, and the tokenizers crate takes microseconds for
//! each word. For tokenizers of which the tokens of a text are those of its words, concatenated, a
//! lookup per word replaces most of that work.

use crate::tokenizer::word_cache::WordCache;
use std::sync::{Mutex, PoisonError};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Prepend, Replace};
use tokenizers::{AddedToken, Model, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// The character by which SentencePiece replaces a space.
pub(super) const SPACE: &str = "\u{2581}";

/// How a text is split into pieces whose tokens, concatenated, are the tokens of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SplitRule {
    /// At white space, which has no tokens; and before and after ASCII punctuation and, if
    /// `chinese`, Chinese characters, which are words of their own.
    ///
    /// Valid for BERT: its normalizer and pre-tokenizer treat each character, with its accents, on
    /// its own.
    Bert {
        /// Whether the normalizer puts spaces around Chinese characters.
        chinese: bool,
        /// Whether the normalizer converts to lower case.
        lower_case: bool,
    },
    /// Before a space.
    ///
    /// Valid for byte-pair encoding when the normalizer prepends [`SPACE`] to the text and replaces
    /// every space by it, and when no token of the vocabulary has a [`SPACE`] after another
    /// character: no merge can then reach across the start of a piece.
    BeforeSpaces,
}

/// Tokenises texts word by word, with caches of the tokens of words.
pub(super) struct WordEncoder {
    rule: SplitRule,
    /// Added tokens, which the tokenizer searches for in the text before anything else.
    added: Vec<String>,
    /// Whether a byte is the first one of an added token.
    first_bytes: [bool; 256],
    /// The caches that no thread uses now. There are never more than threads.
    idle_caches: Mutex<Vec<WordCache>>,
}

impl WordEncoder {
    /// An encoder for the tokenizer; `None` when no [`SplitRule`] is valid for it.
    pub(super) fn new(tokenizer: &tokenizers::Tokenizer) -> Option<WordEncoder> {
        let rule = split_rule(tokenizer)?;
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder().values();
        // A normalized added token is searched for in the normalized text, across words.
        let content = |token: &AddedToken| (!token.normalized).then(|| token.content.clone());
        let added = added.map(content).collect::<Option<Vec<String>>>()?;
        let mut first_bytes = [false; 256];
        added.iter().for_each(|token| first_bytes[usize::from(token.as_bytes()[0])] = true);
        Some(WordEncoder { rule, added, first_bytes, idle_caches: Mutex::default() })
    }

    /// Calls `work` with a cache that no other thread uses meanwhile.
    pub(super) fn with_cache<T>(&self, work: impl FnOnce(&mut WordCache) -> T) -> T {
        let idle = || self.idle_caches.lock().unwrap_or_else(PoisonError::into_inner);
        // The guard must be dropped before `work` runs.
        let taken = idle().pop();
        let mut cache = taken.unwrap_or_default();
        let result = work(&mut cache);
        idle().push(cache);
        result
    }

    /// The tokens of a text, without special tokens. `None` when the text contains an added token,
    /// which only the tokenizer itself separates from its surroundings.
    pub(super) fn encode(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        cache: &mut WordCache,
    ) -> tokenizers::Result<Option<Vec<u32>>> {
        if self.contains_added_token(text) {
            return Ok(None);
        }
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        match self.rule {
            SplitRule::Bert { chinese, lower_case } => {
                for word in (BertWords { rest: text, chinese }) {
                    cache
                        .append_tokens(word, &mut ids, || bert_ids(tokenizer, word, lower_case))?;
                }
            }
            SplitRule::BeforeSpaces => {
                for word in split_before_spaces(text) {
                    cache.append_tokens(word, &mut ids, || {
                        let normalized = format!("{SPACE}{}", word.replace(' ', SPACE));
                        let tokens = tokenizer.get_model().tokenize(&normalized)?;
                        Ok(tokens.into_iter().map(|token| token.id).collect())
                    })?;
                }
            }
        }
        Ok(Some(ids))
    }

    /// Whether [`WordEncoder::is_cut`] knows where words end.
    pub(super) fn has_cuts(&self) -> bool {
        matches!(self.rule, SplitRule::Bert { .. })
    }

    /// Whether the tokens of a text are those of its two parts before and after byte `place`, where
    /// the two characters `beside` meet.
    pub(super) fn is_cut(&self, text: &str, place: usize, beside: [char; 2]) -> bool {
        let SplitRule::Bert { chinese, .. } = self.rule else { return false };
        let divides =
            |character: char| WHITE_SPACE.contains(&character) || is_delimiter(character, chinese);
        beside.into_iter().any(divides) && !self.has_added_token_across(text, place)
    }

    fn contains_added_token(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        (0..bytes.len()).any(|start| self.added_token_at(bytes, start, 1))
    }

    /// Whether an added token begins before byte `place` and ends after it.
    fn has_added_token_across(&self, text: &str, place: usize) -> bool {
        let longest = self.added.iter().map(String::len).max().unwrap_or(0);
        let mut starts = place.saturating_sub(longest)..place;
        starts.any(|start| self.added_token_at(text.as_bytes(), start, place - start + 1))
    }

    /// Whether an added token of at least `length` bytes begins at byte `start`.
    fn added_token_at(&self, bytes: &[u8], start: usize, length: usize) -> bool {
        let is_here =
            |token: &String| token.len() >= length && bytes[start..].starts_with(token.as_bytes());
        self.first_bytes[usize::from(bytes[start])] && self.added.iter().any(is_here)
    }
}

/// White space that separates the words of BERT. Other white space exists; it is left to the
/// tokenizer.
const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// The words of a text of BERT, delimiters among them.
struct BertWords<'a> {
    rest: &'a str,
    chinese: bool,
}

impl<'a> Iterator for BertWords<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let start = self.rest.bytes().position(|byte| !is_white_space(byte))?;
        let rest = &self.rest[start..];
        let bytes = rest.as_bytes();
        // No byte of white space or of a delimiter in ASCII is a part of another character.
        let delimits = |&at: &usize| match bytes[at] {
            byte if byte.is_ascii() => is_white_space(byte) || byte.is_ascii_punctuation(),
            // The first bytes of U+3000 to U+9FFF.
            0xE3..=0xE9 if self.chinese => {
                rest[at..].chars().next().is_some_and(|first| is_delimiter(first, true))
            }
            _ => false,
        };
        let end = (0..bytes.len()).find(delimits).unwrap_or(bytes.len());
        // A word that begins with a delimiter is that delimiter.
        let end = if end == 0 { rest.chars().next().map_or(0, char::len_utf8) } else { end };
        let (word, rest) = rest.split_at(end);
        self.rest = rest;
        Some(word)
    }
}

fn is_white_space(byte: u8) -> bool {
    WHITE_SPACE.contains(&char::from(byte))
}

/// The tokens of a word of BERT.
fn bert_ids(
    tokenizer: &tokenizers::Tokenizer,
    word: &str,
    lower_case: bool,
) -> tokenizers::Result<Vec<u32>> {
    if word.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        // All that the normalizer changes are capital letters, and the pre-tokenizer changes
        // nothing: without both, it takes a third of the time.
        let word = if lower_case { word.to_ascii_lowercase() } else { word.to_owned() };
        let tokens = tokenizer.get_model().tokenize(&word)?;
        return Ok(tokens.into_iter().map(|token| token.id).collect());
    }
    Ok(tokenizer.encode_fast(word, false)?.get_ids().to_vec())
}

/// Whether a character is always a word of its own in BERT. Other characters are too; their words
/// are left to the tokenizer.
fn is_delimiter(character: char, chinese: bool) -> bool {
    character.is_ascii_punctuation()
        || chinese && matches!(character, '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}')
}

/// Splits a text before each space that follows another character. The pieces lack the space that
/// they begin with: the first one has none either, as the normalizer prepends it.
fn split_before_spaces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = (!text.is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let follows_other =
            |&at: &usize| at > 0 && !text[..at].ends_with(' ') && !text[..at].ends_with(SPACE);
        let end = text.match_indices(' ').map(|(at, _)| at).find(follows_other);
        rest = end.map(|at| &text[at + 1..]);
        Some(&text[..end.unwrap_or(text.len())])
    })
}

/// The split rule that is valid for a tokenizer.
fn split_rule(tokenizer: &tokenizers::Tokenizer) -> Option<SplitRule> {
    let normalizer = tokenizer.get_normalizer()?;
    match (normalizer, tokenizer.get_pre_tokenizer(), tokenizer.get_model()) {
        (
            NormalizerWrapper::BertNormalizer(normalizer),
            Some(PreTokenizerWrapper::BertPreTokenizer(_)),
            ModelWrapper::WordPiece(_),
        ) => Some(SplitRule::Bert {
            chinese: normalizer.handle_chinese_chars,
            lower_case: normalizer.lowercase,
        }),
        (NormalizerWrapper::Sequence(steps), None, ModelWrapper::BPE(model)) => {
            let [
                NormalizerWrapper::Prepend(Prepend { prepend }),
                NormalizerWrapper::Replace(replace),
            ] = steps.as_ref()
            else {
                return None;
            };
            let spaces = Replace::new(" ", SPACE).ok()?;
            (prepend == SPACE && *replace == spaces && splits_before_spaces(model))
                .then_some(SplitRule::BeforeSpaces)
        }
        _ => None,
    }
}

/// Whether the tokens of a text before a [`SPACE`] do not depend on what follows it, nor those
/// after it on what precedes it.
fn splits_before_spaces(model: &BPE) -> bool {
    let space_after_other = |token: &str| token.trim_start_matches(SPACE).contains(SPACE);
    model.dropout.is_none()
        && model.continuing_subword_prefix.is_none()
        && model.end_of_word_suffix.is_none()
        && !model.ignore_merges
        // Adjacent unknown characters are fused into one token. A known SPACE keeps them apart.
        && model.token_to_id(SPACE).is_some()
        && !model.get_vocab().keys().any(|token| space_after_other(token))
}

#[cfg(test)]
mod tests {
    use super::{BertWords, split_before_spaces};

    #[test]
    fn words_of_bert_end_at_white_space_and_delimiters() {
        let pieces = |rest, chinese| BertWords { rest, chinese }.collect::<Vec<_>>();
        assert_eq!(pieces("", true), [""; 0]);
        assert_eq!(pieces(" \t\r\n", true), [""; 0]);
        assert_eq!(pieces("ab", true), ["ab"]);
        assert_eq!(pieces(" a\u{e9}  b\n", true), ["a\u{e9}", "b"]);
        assert_eq!(pieces("..a-bc.", true), [".", ".", "a", "-", "bc", "."]);
        assert_eq!(pieces("\u{3042}\u{4eac}", true), ["\u{3042}", "\u{4eac}"]);
        assert_eq!(pieces("a\u{6771}\u{4eac}", true), ["a", "\u{6771}", "\u{4eac}"]);
        assert_eq!(pieces("a\u{6771}\u{4eac}", false), ["a\u{6771}\u{4eac}"]);
    }

    #[test]
    fn texts_are_split_before_spaces_that_follow_another_character() {
        let pieces = |text| split_before_spaces(text).collect::<Vec<_>>();
        assert_eq!(pieces(""), [""; 0]);
        assert_eq!(pieces("a bc d"), ["a", "bc", "d"]);
        assert_eq!(pieces(" a   b "), [" a", "  b", ""]);
        assert_eq!(pieces("a\u{2581} b"), ["a\u{2581} b"]);
        assert_eq!(pieces("  "), ["  "]);
    }
}
