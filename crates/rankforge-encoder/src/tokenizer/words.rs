//! Tokens of words met before: most words of a text are, and the tokenizers crate takes microseconds for each.

use std::sync::{Mutex, PoisonError};
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::{Prepend, Replace};
use tokenizers::{AddedToken, Model, ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

/// Where texts can be cut so that the tokens of the pieces, end to end, are those of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cuts {
    /// At white space, which has no tokens: BERT, whose normalizer and pre-tokenizer look at one character at a
    /// time (or at one with its accents).
    WhiteSpace,
    /// Before spaces: byte-pair encoding of a text that begins with [`SPACE`] and has one for each space, where no
    /// token holds a [`SPACE`] after anything else, so that no merge reaches over a cut.
    BeforeSpaces,
}

/// The tokens of texts, word by word, for tokenizers that allow it.
pub(super) struct Words {
    cuts: Cuts,
    /// Tokens that are found in the text before anything else is done to it, and their first bytes.
    added: Vec<String>,
    starts: [bool; 256],
    /// Those not in use; there are never more than threads.
    memories: Mutex<Vec<Memory>>,
}

impl Words {
    /// For a tokenizer whose every part is one of those that [`Cuts`] is about, else `None`.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Option<Words> {
        let cuts = cuts(tokenizer)?;
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder().values();
        // A normalized token is looked for in the normalized text, across pieces.
        let content = |token: &AddedToken| (!token.normalized).then(|| token.content.clone());
        let added = added.map(content).collect::<Option<Vec<String>>>()?;
        let mut starts = [false; 256];
        added.iter().for_each(|token| starts[usize::from(token.as_bytes()[0])] = true);
        Some(Words { cuts, added, starts, memories: Mutex::default() })
    }

    /// Calls `work` with a memory of its own.
    pub(super) fn with_memory<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        let memories = || self.memories.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = memories().pop();
        let mut memory = taken.unwrap_or_default();
        let result = work(&mut memory);
        memories().push(memory);
        result
    }

    /// The tokens of a text without special ones; `None` when it spells out an added token, which only the
    /// tokenizer itself cuts out.
    pub(super) fn encode(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        text: &str,
        memory: &mut Memory,
    ) -> tokenizers::Result<Option<Vec<u32>>> {
        if self.spells_added_token(text) {
            return Ok(None);
        }
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        match self.cuts {
            Cuts::WhiteSpace => {
                let pieces = text.split([' ', '\t', '\n', '\r']).filter(|piece| !piece.is_empty());
                for piece in pieces {
                    memory.add(piece, &mut ids, || {
                        let encoding = tokenizer.encode_fast(piece, false)?;
                        Ok(encoding.get_ids().to_vec())
                    })?;
                }
            }
            Cuts::BeforeSpaces => {
                for piece in spaced(text) {
                    memory.add(piece, &mut ids, || {
                        let word = format!("{SPACE}{}", piece.replace(' ', SPACE));
                        let tokens = tokenizer.get_model().tokenize(&word)?;
                        Ok(tokens.into_iter().map(|token| token.id).collect())
                    })?;
                }
            }
        }
        Ok(Some(ids))
    }

    fn spells_added_token(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let start = |at: &usize| self.starts[usize::from(bytes[*at])];
        let spelled = |at| self.added.iter().any(|token| bytes[at..].starts_with(token.as_bytes()));
        (0..bytes.len()).filter(start).any(spelled)
    }
}

/// Pieces of a text cut before each space that follows something else; each without the space it begins with, as the
/// first has none (one is put before it).
fn spaced(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = (!text.is_empty()).then_some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let follows =
            |&at: &usize| at > 0 && !text[..at].ends_with(' ') && !text[..at].ends_with(SPACE);
        let cut = text.match_indices(' ').map(|(at, _)| at).find(follows);
        rest = cut.map(|at| &text[at + 1..]);
        Some(&text[..cut.unwrap_or(text.len())])
    })
}

fn cuts(tokenizer: &tokenizers::Tokenizer) -> Option<Cuts> {
    let normalizer = tokenizer.get_normalizer()?;
    match (normalizer, tokenizer.get_pre_tokenizer(), tokenizer.get_model()) {
        (
            NormalizerWrapper::BertNormalizer(_),
            Some(PreTokenizerWrapper::BertPreTokenizer(_)),
            ModelWrapper::WordPiece(_),
        ) => Some(Cuts::WhiteSpace),
        (NormalizerWrapper::Sequence(steps), None, ModelWrapper::BPE(model)) => {
            let [
                NormalizerWrapper::Prepend(Prepend { prepend }),
                NormalizerWrapper::Replace(replace),
            ] = steps.as_ref()
            else {
                return None;
            };
            let spaces = Replace::new(" ", SPACE).ok()?;
            (prepend == SPACE && *replace == spaces && parts_at_spaces(model))
                .then_some(Cuts::BeforeSpaces)
        }
        _ => None,
    }
}

/// Whether the tokens before a [`SPACE`] are the same whatever follows, and the other way round.
fn parts_at_spaces(model: &BPE) -> bool {
    let after_other = |token: &str| token.trim_start_matches(SPACE).contains(SPACE);
    model.dropout.is_none()
        && model.continuing_subword_prefix.is_none()
        && model.end_of_word_suffix.is_none()
        && !model.ignore_merges
        // Unknown characters are not fused over one that is known.
        && model.token_to_id(SPACE).is_some()
        && !model.get_vocab().keys().any(|token| after_other(token))
}

/// Bytes of the longest word that is remembered, and its most tokens.
const LONGEST: usize = 24;
const MOST_TOKENS: usize = 6;

/// Places of words; 3.5 MiB.
const PLACES: usize = 1 << 16;

/// Words and their tokens; the last word of each place.
pub(super) struct Memory {
    places: Vec<Word>,
}

#[derive(Clone, Copy, Default)]
struct Word {
    bytes: [u64; LONGEST / 8],
    ids: [u32; MOST_TOKENS],
    /// One more than the bytes; 0 where there is no word.
    length: u8,
    tokens: u8,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { places: vec![Word::default(); PLACES] }
    }
}

impl Memory {
    /// Adds the tokens of a word to `ids`, those that `tokenize` gives unless they are remembered.
    fn add(
        &mut self,
        word: &str,
        ids: &mut Vec<u32>,
        tokenize: impl FnOnce() -> tokenizers::Result<Vec<u32>>,
    ) -> tokenizers::Result<()> {
        if word.len() > LONGEST {
            ids.extend(tokenize()?);
            return Ok(());
        }
        let mut bytes = [0; LONGEST];
        bytes[..word.len()].copy_from_slice(word.as_bytes());
        let (parts, _) = bytes.as_chunks::<8>();
        let bytes = [parts[0], parts[1], parts[2]].map(u64::from_le_bytes);
        let length = word.len() as u8 + 1;
        let place = &mut self.places[place(bytes)];
        if place.length == length && place.bytes == bytes {
            ids.extend_from_slice(&place.ids[..usize::from(place.tokens)]);
            return Ok(());
        }
        let tokens = tokenize()?;
        if tokens.len() <= MOST_TOKENS {
            *place = Word { bytes, length, tokens: tokens.len() as u8, ..Word::default() };
            place.ids[..tokens.len()].copy_from_slice(&tokens);
        }
        ids.extend(tokens);
        Ok(())
    }
}

fn place(bytes: [u64; LONGEST / 8]) -> usize {
    /// Odd numbers without a pattern (the digits of the golden ratio, and its square root's).
    const FACTORS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xD1B5_4A32_D192_ED03];
    let mix = |hash: u64, part: u64| (hash ^ part).wrapping_mul(FACTORS[0]).rotate_left(29);
    let hash = bytes.into_iter().fold(FACTORS[1], mix).wrapping_mul(FACTORS[1]);
    (hash >> (u64::BITS - PLACES.trailing_zeros())) as usize
}

#[cfg(test)]
mod tests {
    use super::spaced;

    #[test]
    fn texts_are_cut_before_spaces_that_follow_something_else() {
        let pieces = |text| spaced(text).collect::<Vec<_>>();
        assert_eq!(pieces(""), [""; 0]);
        assert_eq!(pieces("a bc d"), ["a", "bc", "d"]);
        assert_eq!(pieces(" a   b "), [" a", "  b", ""]);
        assert_eq!(pieces("a\u{2581} b"), ["a\u{2581} b"]);
        assert_eq!(pieces("  "), ["  "]);
    }
}
