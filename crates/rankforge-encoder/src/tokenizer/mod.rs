mod files;
mod template;
mod word_piece;
mod words;

use crate::{EncoderError, Input, Tokens};
use files::TokenizerFiles;
use std::path::Path;
use std::sync::Arc;
use template::Template;
use tokenizers::PostProcessor;
use tokenizers::parallelism::{self, MaybeParallelSlice};
use words::{Memory, Words};

/// A Hugging Face tokenizer with the files it came from, truncating to a maximum length.
#[derive(Clone)]
pub struct Tokenizer {
    /// Shared: a vocabulary takes tens of megabytes.
    inner: Arc<tokenizers::Tokenizer>,
    /// Words met before, where a text's tokens are those of its words.
    words: Option<Arc<Words>>,
    /// For one text and for two, where the template says no more than what stands around them.
    templates: [Option<Template>; 2],
    files: Arc<TokenizerFiles>,
    max_length: Option<usize>,
    /// Whether the start of a text is cut off and not its end.
    truncates_left: bool,
    special_tokens: bool,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where it is there, `tokenizer_config.json` of a directory; a
    /// BERT vocabulary in `vocab.txt` will do in place of the former.
    ///
    /// # Errors
    /// A missing or malformed file.
    pub fn load(directory: &Path) -> Result<Tokenizer, EncoderError> {
        Tokenizer::from_files(TokenizerFiles::read(directory)?)
    }

    /// From the text of a `tokenizer.json`.
    ///
    /// # Errors
    /// Malformed text.
    pub fn from_json(json: &str) -> Result<Tokenizer, EncoderError> {
        Tokenizer::from_files(TokenizerFiles::from_json(json))
    }

    /// Writes the tokenizer's files into a directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), EncoderError> {
        if self.special_tokens {
            self.files.write(directory, self.max_length)
        } else {
            // A static embedding model has `tokenizer.json` alone, its limit inside.
            self.files.write_static(directory, self.max_length)
        }
    }

    /// Largest number of ids, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Longest sequence, special tokens included; `None` is without limit.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Sets the longest sequence.
    pub fn set_max_length(&mut self, max_length: Option<usize>) {
        self.max_length = max_length;
    }

    /// Tokenises in parallel, in order: the pair template, `longest_first` truncation to
    /// `max_length`, no padding. Static embedding models add no special tokens.
    ///
    /// # Errors
    /// When the tokenizer fails on a text.
    pub fn encode(&self, inputs: &[Input<'_>]) -> Result<Vec<Tokens>, EncoderError> {
        /// Inputs that a thread takes at a time.
        const PART: usize = 8;
        let parts = inputs.maybe_par_chunks(PART).map(|inputs| {
            self.with_memory(|mut memory| {
                let encode = |input: &Input<'_>| self.encode_one(*input, memory.as_deref_mut());
                inputs.iter().map(encode).collect::<Result<Vec<Tokens>, EncoderError>>()
            })
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Number of leading tokens that belong to `prompt` when it stands before a text: its tokens
    /// and the special ones before it.
    ///
    /// # Errors
    /// When the tokenizer fails on the prompt.
    pub fn prompt_length(&self, prompt: &str) -> Result<usize, EncoderError> {
        let tokens = self.with_memory(|memory| self.encode_one(Input::Single(prompt), memory))?;
        let special = |id| {
            self.inner
                .id_to_token(id)
                .is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
        };
        let trailing = tokens.ids.last().is_some_and(|&id| special(id));
        Ok(tokens.ids.len() - usize::from(trailing))
    }

    /// Special tokens that the template adds to one text, or to two.
    pub(crate) fn special_tokens(&self, pair: bool) -> usize {
        match self.inner.get_post_processor() {
            Some(processor) if self.special_tokens => processor.added_tokens(pair),
            _ => 0,
        }
    }

    /// The largest segment that reaches the model.
    pub(crate) fn largest_segment(&self) -> u32 {
        let templates = self.templates.iter().flatten().filter(|_| self.files.has_segments());
        templates.map(Template::largest_segment).max().unwrap_or(0)
    }

    /// The same tokenizer as static embedding models use it: no special tokens, and the
    /// truncation that `tokenizer.json` itself asks for, if any.
    pub(crate) fn into_static(mut self) -> Tokenizer {
        self.special_tokens = false;
        self.templates = templates(&self.inner, false);
        let stored = self.files.stored_truncation();
        self.max_length = stored.map(|(length, _)| length);
        self.truncates_left = stored.is_some_and(|(_, left)| left);
        self
    }

    /// The same tokenizer on lower-cased text (`do_lower_case` of sentence-transformers).
    pub(crate) fn into_lower_case(self) -> Result<Tokenizer, EncoderError> {
        let Some(files) = self.files.with_lower_case() else {
            return Ok(self);
        };
        let mut lower = Tokenizer::from_files(files)?;
        lower.max_length = self.max_length;
        Ok(lower)
    }

    fn from_files(files: TokenizerFiles) -> Result<Tokenizer, EncoderError> {
        // Decided here, so that the crate does not ask the environment.
        parallelism::set_parallelism(true);
        let mut inner: tokenizers::Tokenizer = files
            .json()
            .parse()
            .map_err(|error| files.error(format!("not a usable tokenizer: {error}")))?;
        inner.with_padding(None);
        inner.with_truncation(None).expect("no truncation is always valid");
        let templates = templates(&inner, true);
        let special = templates.iter().flatten().filter_map(Template::largest_id);
        let largest = inner.get_vocab(true).into_values().chain(special).max();
        let vocab_size = largest.map_or(0, |id| id as usize + 1);
        let max_length = files.max_length()?;
        Ok(Tokenizer {
            words: Words::of(&inner).map(Arc::new),
            templates,
            truncates_left: files.truncates_left(),
            inner: Arc::new(inner),
            files: Arc::new(files),
            max_length,
            special_tokens: true,
            vocab_size,
        })
    }

    fn with_memory<T>(&self, work: impl FnOnce(Option<&mut Memory>) -> T) -> T {
        match &self.words {
            Some(words) => words.with_memory(|memory| work(Some(memory))),
            None => work(None),
        }
    }

    fn encode_one(
        &self,
        input: Input<'_>,
        mut memory: Option<&mut Memory>,
    ) -> Result<Tokens, EncoderError> {
        let mut plain = |text| {
            self.plain(text, memory.as_deref_mut())
                .map_err(|error| EncoderError::Input(format!("cannot tokenise: {error}")))
        };
        let (first, second) = match input {
            Input::Single(text) => (plain(text)?, None),
            Input::Pair(first, second) => (plain(first)?, Some(plain(second)?)),
        };
        let second_length = second.as_ref().map_or(0, Vec::len);
        let total = first.len() + second_length;
        let room = match self.max_length {
            Some(length) => length.saturating_sub(self.special_tokens(second.is_some())),
            None => usize::MAX,
        };
        let (keep_first, keep_second) = longest_first(first.len(), second_length, room);
        let left = self.truncates_left;
        let first = cut(&first, keep_first, left);
        let second = second.as_ref().map(|second| cut(second, keep_second, left));
        let (ids, mut type_ids) = self.fill_template(first, second)?;
        if !self.files.has_segments() {
            type_ids.fill(0);
        }
        Ok(Tokens { ids, type_ids, truncated: total - keep_first - keep_second })
    }

    /// The tokens of a text without special ones.
    fn plain(&self, text: &str, memory: Option<&mut Memory>) -> tokenizers::Result<Vec<u32>> {
        if let (Some(words), Some(memory)) = (&self.words, memory)
            && let Some(ids) = words.encode(&self.inner, text, memory)?
        {
            return Ok(ids);
        }
        Ok(self.inner.encode_fast(text, false)?.get_ids().to_vec())
    }

    /// Ids and segments of a sequence with its special tokens.
    fn fill_template(
        &self,
        first: &[u32],
        second: Option<&[u32]>,
    ) -> Result<(Vec<u32>, Vec<u32>), EncoderError> {
        if let Some(template) = &self.templates[usize::from(second.is_some())] {
            return Ok(template.fill(first, second));
        }
        let first = template::encoding(first.to_vec(), 0);
        let second = second.map(|second| template::encoding(second.to_vec(), 1));
        let whole = self
            .inner
            .post_process(first, second, self.special_tokens)
            .map_err(|error| EncoderError::Input(format!("cannot tokenise: {error}")))?;
        Ok((whole.get_ids().to_vec(), whole.get_type_ids().to_vec()))
    }
}

fn templates(tokenizer: &tokenizers::Tokenizer, special_tokens: bool) -> [Option<Template>; 2] {
    let processor = tokenizer.get_post_processor();
    [false, true].map(|pair| Template::of(processor, special_tokens, pair))
}

/// How many tokens of two sequences stay when `room` is all there is: the longer one is cut first,
/// and when both must be cut the second gets the odd token, unless it is the shorter one.
fn longest_first(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first.saturating_add(second) <= room {
        return (first, second);
    }
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = if short > room || short.max(room - short) + short > room {
        (room / 2, room / 2 + room % 2)
    } else {
        (short, long.min(room - short))
    };
    if first > second { (long, short) } else { (short, long) }
}

/// Keeps `keep` tokens of a sequence.
fn cut(ids: &[u32], keep: usize, left: bool) -> &[u32] {
    if left { &ids[ids.len() - keep..] } else { &ids[..keep] }
}

#[cfg(test)]
mod tests {
    use super::longest_first;

    /// Takes tokens away one by one, as the rule is usually told.
    fn one_by_one(mut first: usize, mut second: usize, room: usize) -> (usize, usize) {
        while first + second > room {
            if first > second {
                first -= 1;
            } else {
                second -= 1;
            }
        }
        (first, second)
    }

    #[test]
    fn longest_first_keeps_as_many_tokens_as_fit() {
        for first in 0..12 {
            for second in 0..12 {
                for room in 0..26 {
                    let (a, b) = longest_first(first, second, room);
                    assert_eq!(a + b, (first + second).min(room), "{first} {second} {room}");
                    let (c, d) = one_by_one(first, second, room);
                    assert!(a.abs_diff(c) <= 1 && b.abs_diff(d) <= 1, "{first} {second} {room}");
                }
            }
        }
    }

    #[test]
    fn longest_first_gives_the_odd_token_as_the_fast_tokenizer_does() {
        assert_eq!(longest_first(4, 4, 7), (3, 4));
        assert_eq!(longest_first(4, 8, 7), (3, 4));
        assert_eq!(longest_first(8, 4, 7), (4, 3));
        assert_eq!(longest_first(8, 8, 7), (3, 4));
        assert_eq!(longest_first(8, 2, 7), (5, 2));
        assert_eq!(longest_first(2, 8, 7), (2, 5));
        assert_eq!(longest_first(0, 8, 7), (0, 7));
        assert_eq!(longest_first(9, 9, 0), (0, 0));
    }
}
