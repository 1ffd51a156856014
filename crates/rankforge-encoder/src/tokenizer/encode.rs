use crate::error::EncoderError;
use crate::input::{Input, Prompt, Text, Tokens};
use crate::tokenizer::files::{NamedFile, TokenizerFiles};
use crate::tokenizer::template::{self, Template};
use crate::tokenizer::word_cache::{WordCache, WordEncoder};
use rankforge_base::write_atomically;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use tokenizers::parallelism::{self, MaybeParallelSlice};

/// A Hugging Face tokenizer that truncates to a maximum length, with the files it was read from.
#[derive(Clone)]
pub struct Tokenizer {
    /// Shared between clones, as a vocabulary takes tens of megabytes.
    inner: Arc<tokenizers::Tokenizer>,
    /// Tokenises word by word, for tokenizers where that is equivalent.
    words: Option<Arc<WordEncoder>>,
    /// The templates for a single text and for a pair.
    templates: [Template; 2],
    files: Arc<TokenizerFiles>,
    max_length: Option<usize>,
    /// Whether truncation removes tokens from the start of a text instead of its end.
    truncates_left: bool,
    /// Whether special tokens are added. Static embedding models have none.
    special_tokens: bool,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads a tokenizer from a directory: `tokenizer.json`, or a BERT vocabulary in `vocab.txt`
    /// where it is missing, and `tokenizer_config.json` if it exists.
    ///
    /// # Errors
    /// A missing or malformed file.
    pub fn load(directory: &Path) -> Result<Tokenizer, EncoderError> {
        Tokenizer::from_files(TokenizerFiles::read(directory)?)
    }

    /// A tokenizer from the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// Content that the tokenizers crate cannot parse.
    pub fn from_json(json: &str) -> Result<Tokenizer, EncoderError> {
        Tokenizer::from_files(TokenizerFiles::from_json(json))
    }

    /// Writes the tokenizer's files into a directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn save(&self, directory: &Path) -> Result<(), EncoderError> {
        for (name, bytes) in self.files()? {
            write_atomically(&directory.join(name), &bytes)?;
        }
        Ok(())
    }

    /// The files that [`Tokenizer::save`] writes, as pairs (name, content).
    ///
    /// # Errors
    /// When a field of the files that were read has an unusable value.
    pub(crate) fn files(&self) -> Result<Vec<NamedFile<'_>>, EncoderError> {
        if self.special_tokens {
            self.files.all(self.max_length)
        } else {
            // The only file of a static embedding model's tokenizer is `tokenizer.json`, which also
            // contains the maximum length.
            Ok(vec![self.files.for_static_model(self.max_length)])
        }
    }

    /// Number of rows that an embedding table needs: the largest id, including those of added
    /// tokens, plus 1.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Maximum length of a sequence in tokens, including special tokens; `None` is no limit.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// The maximum length with the file that it was read from; `None` is no limit.
    pub(crate) fn stored_max_length(&self) -> Option<(usize, &Path)> {
        self.max_length.map(|length| (length, self.files.config_path()))
    }

    /// Sets the maximum length of a sequence in tokens.
    pub fn set_max_length(&mut self, max_length: Option<usize>) {
        self.max_length = max_length;
    }

    /// Tokenises inputs in parallel, one sequence per input, in their order.
    ///
    /// For each input the prompt is prepended to the first text, the texts are tokenised and
    /// truncated so that the sequence has at most `max_length` tokens, and special tokens are added
    /// unless the tokenizer is that of a static embedding model. Of a pair, the longer text is
    /// truncated first. Sequences are not padded.
    ///
    /// # Errors
    /// When the tokenizer fails on a text.
    pub fn encode(&self, inputs: &[Input<'_>]) -> Result<Vec<Tokens>, EncoderError> {
        /// Number of inputs that a thread tokenises at a time.
        const CHUNK: usize = 8;
        let chunks = inputs.maybe_par_chunks(CHUNK).map(|inputs| {
            self.with_cache(|mut cache| {
                let encode = |input: &Input<'_>| self.encode_one(*input, cache.as_deref_mut());
                inputs.iter().map(encode).collect::<Result<Vec<Tokens>, EncoderError>>()
            })
        });
        let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
        Ok(chunks.into_iter().flatten().collect())
    }

    /// A prompt for this tokenizer; `None` for an empty text.
    ///
    /// As in sentence-transformers, its length is that of `text` tokenised on its own, including
    /// special tokens, except the one at the end.
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn prompt(&self, text: &str) -> Result<Option<Prompt>, EncoderError> {
        if text.is_empty() {
            return Ok(None);
        }
        let tokens = self.with_cache(|cache| self.encode_one(Input::single(text), cache))?;
        let is_special = |id| {
            self.inner
                .id_to_token(id)
                .is_some_and(|token| self.inner.get_added_vocabulary().is_special_token(&token))
        };
        let ends_special = tokens.ids.last().is_some_and(|&id| is_special(id));
        let tokens = tokens.ids.len() - usize::from(ends_special);
        Ok(Some(Prompt { text: text.to_owned(), tokens }))
    }

    /// Number of special tokens that are added to a pair or to a single text.
    pub(crate) fn special_tokens(&self, pair: bool) -> usize {
        self.templates[usize::from(pair)].special_tokens()
    }

    /// The largest segment id that [`Tokenizer::encode`] gives.
    pub(crate) fn largest_segment(&self) -> u32 {
        let templates = self.templates.iter().filter(|_| self.files.has_segments());
        templates.map(Template::largest_segment).max().unwrap_or(0)
    }

    /// The tokenizer for a static embedding model: without special tokens, and with the truncation
    /// that is stored in `tokenizer.json`, if any.
    ///
    /// # Errors
    /// The post-processor is not a template that works without special tokens.
    pub(crate) fn into_static(mut self) -> Result<Tokenizer, EncoderError> {
        self.special_tokens = false;
        self.templates = templates(&self.inner, false).map_err(|text| self.files.invalid(text))?;
        let stored = self.files.stored_truncation();
        self.max_length = stored.map(|(length, _)| length);
        self.truncates_left = stored.is_some_and(|(_, left)| left);
        Ok(self)
    }

    /// The tokenizer with a normalizer that converts texts to lower case (`do_lower_case` of
    /// sentence-transformers).
    pub(crate) fn into_lower_case(self) -> Result<Tokenizer, EncoderError> {
        let Some(files) = self.files.with_lower_case() else {
            return Ok(self);
        };
        let mut tokenizer = Tokenizer::from_files(files)?;
        tokenizer.max_length = self.max_length;
        Ok(tokenizer)
    }

    fn from_files(files: TokenizerFiles) -> Result<Tokenizer, EncoderError> {
        // Without this call, the tokenizers crate reads TOKENIZERS_PARALLELISM from the
        // environment.
        parallelism::set_parallelism(true);
        files.check_syntax()?;
        let mut inner: tokenizers::Tokenizer =
            files.json().parse().map_err(|error| files.invalid(error))?;
        if let Some(processor) = inner.get_post_processor() {
            template::check(processor).map_err(|message| files.invalid(message))?;
        }
        inner.with_padding(None);
        inner.with_truncation(None).expect("removing the truncation cannot fail");
        let templates = templates(&inner, true).map_err(|message| files.invalid(message))?;
        let special = templates.iter().filter_map(Template::largest_id);
        let largest = inner.get_vocab(true).into_values().chain(special).max();
        let vocab_size = largest.map_or(0, |id| id as usize + 1);
        let max_length = files.max_length()?;
        Ok(Tokenizer {
            words: WordEncoder::new(&inner).map(Arc::new),
            templates,
            truncates_left: files.truncates_left(),
            inner: Arc::new(inner),
            files: Arc::new(files),
            max_length,
            special_tokens: true,
            vocab_size,
        })
    }

    /// Calls `work` with a cache for the calling thread; with `None` when texts are not tokenised
    /// word by word.
    fn with_cache<T>(&self, work: impl FnOnce(Option<&mut WordCache>) -> T) -> T {
        match &self.words {
            Some(words) => words.with_cache(|cache| work(Some(cache))),
            None => work(None),
        }
    }

    fn encode_one(
        &self,
        input: Input<'_>,
        mut cache: Option<&mut WordCache>,
    ) -> Result<Tokens, EncoderError> {
        let mut text_ids =
            |text: &str| self.text_ids(text, cache.as_deref_mut()).map_err(EncoderError::tokenizer);
        let first = text_ids(&with_prompt(input.first))?;
        let second = input.second.map(text_ids).transpose()?;
        let second_length = second.as_ref().map_or(0, Vec::len);
        let total = first.len() + second_length;
        let limit = match self.max_length {
            Some(length) => length.saturating_sub(self.special_tokens(second.is_some())),
            None => usize::MAX,
        };
        let (keep_first, keep_second) = longest_first(first.len(), second_length, limit);
        let left = self.truncates_left;
        let first = truncated(&first, keep_first, left);
        let second = second.as_ref().map(|second| truncated(second, keep_second, left));
        let template = &self.templates[usize::from(second.is_some())];
        let (ids, mut type_ids) = template.fill(first, second);
        if !self.files.has_segments() {
            type_ids.fill(0);
        }
        let prompt_tokens = input.first.prompt.map_or(0, |prompt| prompt.tokens);
        Ok(Tokens { ids, type_ids, prompt_tokens, truncated: total - keep_first - keep_second })
    }

    /// The ids of a text without special tokens.
    fn text_ids(&self, text: &str, cache: Option<&mut WordCache>) -> tokenizers::Result<Vec<u32>> {
        if let (Some(words), Some(cache)) = (&self.words, cache)
            && let Some(ids) = words.encode(&self.inner, text, cache)?
        {
            return Ok(ids);
        }
        Ok(self.inner.encode_fast(text, false)?.get_ids().to_vec())
    }
}

/// The text with its prompt prepended.
fn with_prompt<'a>(text: Text<'a>) -> Cow<'a, str> {
    match text.prompt {
        None => Cow::Borrowed(text.text),
        Some(prompt) => Cow::Owned(format!("{}{}", prompt.text, text.text)),
    }
}

/// The templates for a single text and for a pair.
///
/// # Errors
/// See [`Template::new`].
fn templates(
    tokenizer: &tokenizers::Tokenizer,
    special_tokens: bool,
) -> Result<[Template; 2], String> {
    let template = |pair| Template::new(tokenizer.get_post_processor(), special_tokens, pair);
    Ok([template(false)?, template(true)?])
}

/// The number of tokens to keep of each text of a pair with `first` and `second` tokens, so that at
/// most `limit` are kept in all.
///
/// The longer text is truncated first. When both are truncated, each keeps half of `limit`, and an
/// odd token goes to the longer text, or to the second one when both have the same length. This is
/// the strategy `longest_first` of transformers' fast tokenizers.
fn longest_first(first: usize, second: usize, limit: usize) -> (usize, usize) {
    if first.saturating_add(second) <= limit {
        return (first, second);
    }
    let (short, long) = (first.min(second), first.max(second));
    let (short, long) = if short > limit || short.max(limit - short) + short > limit {
        (limit / 2, limit / 2 + limit % 2)
    } else {
        (short, long.min(limit - short))
    };
    if first > second { (long, short) } else { (short, long) }
}

/// `keep` ids of a sequence: the last ones if `left`, else the first ones.
fn truncated(ids: &[u32], keep: usize, left: bool) -> &[u32] {
    if left { &ids[ids.len() - keep..] } else { &ids[..keep] }
}

#[cfg(test)]
mod tests {
    use super::longest_first;

    /// The usual definition of the strategy: removes one token at a time from the longer text.
    fn one_by_one(mut first: usize, mut second: usize, limit: usize) -> (usize, usize) {
        while first + second > limit {
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
                for limit in 0..26 {
                    let (a, b) = longest_first(first, second, limit);
                    assert_eq!(a + b, (first + second).min(limit), "{first} {second} {limit}");
                    let (c, d) = one_by_one(first, second, limit);
                    assert!(a.abs_diff(c) <= 1 && b.abs_diff(d) <= 1, "{first} {second} {limit}");
                }
            }
        }
    }

    #[test]
    fn longest_first_gives_the_odd_token_to_the_same_text_as_fast_tokenizers() {
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
