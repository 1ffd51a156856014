use crate::error::EncoderError;
use crate::input::{Input, Prompt, Text, Tokens};
use crate::tokenizer::cut::CutRule;
use crate::tokenizer::files::{NamedFile, TokenizerFiles};
use crate::tokenizer::read::{self, ReadTokenizer};
use crate::tokenizer::template::{self, Template, templates};
use crate::tokenizer::text_tokens::{TextTokens, longest_first, needs_lengths, truncated};
use crate::tokenizer::word_cache::WordCache;
use crate::tokenizer::word_encoder::WordEncoder;
use rankforge_base::write_atomically;
use std::borrow::Cow;
use std::iter::repeat_n;
use std::path::Path;
use std::sync::Arc;
use tokenizers::parallelism::{self, MaybeParallelSlice};

/// A Hugging Face tokenizer that truncates to a maximum length, with the files it was read from.
#[derive(Clone)]
pub struct Tokenizer {
    /// Shared between clones, as a vocabulary takes tens of megabytes.
    pub(super) inner: Arc<tokenizers::Tokenizer>,
    /// Tokenises word by word, for tokenizers where that is equivalent.
    words: Option<Arc<WordEncoder>>,
    /// Where long texts may be cut before they are tokenised.
    cuts: Option<CutRule>,
    /// The templates for a single text and for a pair.
    pub(super) templates: [Template; 2],
    pub(super) files: Arc<TokenizerFiles>,
    max_length: Option<usize>,
    /// Whether truncation removes tokens from the start of a text instead of its end.
    truncates_left: bool,
    /// Whether special tokens are added. Static embedding models have none.
    special_tokens: bool,
    pub(super) vocab_size: usize,
    /// Ids of tokens that an embedding table may have no row for.
    pub(super) optional_ids: Vec<u32>,
    /// The number of rows of the embedding table where that is less than `vocab_size`.
    pub(super) rows: Option<usize>,
}

impl Tokenizer {
    /// Reads a tokenizer from a directory as `AutoTokenizer` of transformers does: by the rules of
    /// its class, from `tokenizer.json` or a vocabulary (`vocab.txt`; `vocab.json` with
    /// `merges.txt`), `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json`.
    ///
    /// `tokenizer_class` and `model_type` determine the class. Where there is neither,
    /// `tokenizer.json` is used as it is.
    ///
    /// # Errors
    /// A missing or malformed file, or one that the class cannot use.
    pub fn load(directory: &Path) -> Result<Tokenizer, EncoderError> {
        Tokenizer::from_files(TokenizerFiles::read(directory)?)
    }

    /// Reads the tokenizer of a static embedding model, which is `tokenizer.json` as it is.
    ///
    /// # Errors
    /// A missing or malformed file.
    pub(crate) fn load_static(directory: &Path) -> Result<Tokenizer, EncoderError> {
        let files = TokenizerFiles::read_plain(directory)?;
        Tokenizer::from_files(files)?.into_static()
    }

    /// A tokenizer from the content of a `tokenizer.json`.
    ///
    /// # Errors
    /// Content that the tokenizers crate cannot parse.
    pub fn from_json(json: &str) -> Result<Tokenizer, EncoderError> {
        Tokenizer::from_files(TokenizerFiles::from_json(json)?)
    }

    /// A tokenizer from a file `tokenizer.json`, under any name.
    ///
    /// # Errors
    /// A file that cannot be read, or content that the tokenizers crate cannot parse.
    pub(crate) fn from_json_file(path: &Path) -> Result<Tokenizer, EncoderError> {
        Tokenizer::from_files(TokenizerFiles::from_json_file(path)?)
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

    /// What the user should know about how the files were read.
    pub(crate) fn warnings(&self) -> &[String] {
        self.files.warnings()
    }

    /// Whether [`Tokenizer::into_lower_case`] added a normalizer.
    pub(crate) fn lower_case(&self) -> bool {
        self.files.lower_case()
    }

    /// Maximum length of a sequence in tokens, including special tokens; `None` is no limit.
    pub fn max_length(&self) -> Option<usize> {
        self.max_length
    }

    /// Whether truncation removes tokens from the start of a text instead of its end.
    pub fn truncates_left(&self) -> bool {
        self.truncates_left
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
    /// A first text that several inputs in succession share is tokenised once. Of a long text, only
    /// as much is tokenised as truncation leaves, where the tokenizer allows to cut it.
    ///
    /// # Errors
    /// When the tokenizer fails on a text.
    pub fn encode(&self, inputs: &[Input<'_>]) -> Result<Vec<Tokens>, EncoderError> {
        /// Number of inputs that a thread tokenises at a time.
        const CHUNK: usize = 8;
        let runs: Vec<&[Input<'_>]> = inputs.chunk_by(|a, b| a.first == b.first).collect();
        let shared = runs.maybe_par_chunks(CHUNK).map(|runs| {
            let tokens = |run: &&[Input<'_>]| {
                (run.len() > 1).then(|| self.text_tokens(run[0].first)).transpose()
            };
            runs.iter().map(tokens).collect::<Result<Vec<_>, EncoderError>>()
        });
        let shared: Vec<Vec<Option<TextTokens>>> = shared.collect::<Result<_, _>>()?;
        let firsts = runs.iter().zip(shared.iter().flatten());
        let firsts = firsts.flat_map(|(run, tokens)| repeat_n(tokens.as_ref(), run.len()));
        let inputs: Vec<_> = inputs.iter().copied().zip(firsts).collect();
        let chunks = inputs.maybe_par_chunks(CHUNK).map(|inputs| {
            self.with_cache(|mut cache| {
                let encode = |&(input, first): &(Input<'_>, Option<&TextTokens>)| {
                    self.encode_one(input, first, cache.as_deref_mut())
                };
                inputs.iter().map(encode).collect::<Result<Vec<Tokens>, EncoderError>>()
            })
        });
        let chunks = chunks.collect::<Result<Vec<_>, _>>()?;
        Ok(chunks.into_iter().flatten().collect())
    }

    /// The tokens of a text with its prompt, for [`Tokenizer::encode_after`].
    ///
    /// # Errors
    /// When the tokenizer fails on the text.
    pub fn text_tokens(&self, text: Text<'_>) -> Result<TextTokens, EncoderError> {
        self.with_cache(|cache| self.first_tokens(text, cache))
    }

    /// Tokenises an input as [`Tokenizer::encode`] does, given the tokens of its first text.
    ///
    /// # Errors
    /// When the tokenizer fails on a text.
    pub fn encode_after(
        &self,
        first: &TextTokens,
        input: Input<'_>,
    ) -> Result<Tokens, EncoderError> {
        self.with_cache(|cache| self.encode_one(input, Some(first), cache))
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
        let tokens = self.with_cache(|cache| self.encode_one(Input::single(text), None, cache))?;
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
        let mut tokenizer = Tokenizer::from_files(files.parse()?)?;
        tokenizer.max_length = self.max_length;
        Ok(tokenizer)
    }

    fn from_files(read: ReadTokenizer) -> Result<Tokenizer, EncoderError> {
        // Without this call, the tokenizers crate reads TOKENIZERS_PARALLELISM from the
        // environment.
        parallelism::set_parallelism(true);
        let ReadTokenizer { files, tokenizer: mut inner, tokens } = read;
        if let Some(processor) = inner.get_post_processor() {
            template::check(processor).map_err(|message| files.invalid(message))?;
        }
        inner.with_padding(None);
        inner.with_truncation(None).expect("removing the truncation cannot fail");
        inner.set_encode_special_tokens(files.splits_special_tokens());
        let templates = templates(&inner, true).map_err(|message| files.invalid(message))?;
        let max_length = files.max_length()?;
        let words = WordEncoder::new(&inner).map(Arc::new);
        Ok(Tokenizer {
            cuts: CutRule::new(&inner, words.as_deref()),
            words,
            vocab_size: read::size(&inner, &templates),
            optional_ids: read::optional_ids(&inner, &templates, tokens.as_ref()),
            templates,
            truncates_left: files.truncates_left(),
            inner: Arc::new(inner),
            files: Arc::new(files),
            max_length,
            special_tokens: true,
            rows: None,
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

    /// The tokens of an input. `first` are those of its first text, if they are known.
    fn encode_one(
        &self,
        input: Input<'_>,
        first: Option<&TextTokens>,
        mut cache: Option<&mut WordCache>,
    ) -> Result<Tokens, EncoderError> {
        let own = match first {
            None => Some(self.first_tokens(input.first, cache.as_deref_mut())?),
            Some(_) => None,
        };
        let first = first.or(own.as_ref()).expect("one of both is there");
        let second_text = input.second.map(Text::from);
        let second = second_text.map(|text| self.first_tokens(text, cache.as_deref_mut()));
        let second = second.transpose()?;
        let limit = match self.max_length {
            Some(length) => length.saturating_sub(self.special_tokens(second.is_some())),
            None => usize::MAX,
        };
        let mut lengths = (first.ids.len(), second.as_ref().map_or(0, |second| second.ids.len()));
        if let (Some(second), Some(second_text)) = (&second, second_text)
            && needs_lengths(lengths.0, lengths.1, limit)
        {
            let mut count = |text| {
                let ids = self.text_ids(&with_prompt(text), cache.as_deref_mut());
                ids.map(|ids| ids.len())
            };
            lengths = (first.length(|| count(input.first))?, second.length(|| count(second_text))?);
        }
        let (keep_first, keep_second) = longest_first(lengths.0, lengths.1, limit);
        let left = self.truncates_left;
        let first_ids = truncated(&first.ids, keep_first, left);
        let second_ids = second.as_ref().map(|second| truncated(&second.ids, keep_second, left));
        self.check_rows(first_ids.iter().chain(second_ids.unwrap_or_default()))?;
        let template = &self.templates[usize::from(second.is_some())];
        let (ids, mut type_ids) = template.fill(first_ids, second_ids);
        if !self.files.has_segments() {
            type_ids.fill(0);
        }
        let prompt_tokens = input.first.prompt.map_or(0, |prompt| prompt.tokens);
        let truncated = (keep_first, keep_second) != lengths;
        Ok(Tokens { ids, type_ids, prompt_tokens, truncated })
    }

    /// The first tokens of a text with its prompt: all, or more than `max_length`.
    fn first_tokens(
        &self,
        text: Text<'_>,
        mut cache: Option<&mut WordCache>,
    ) -> Result<TextTokens, EncoderError> {
        /// Number of bytes that are tokenised at first, for each token that is needed: more than
        /// most tokens have.
        const BYTES: usize = 8;
        let text = with_prompt(text);
        if let (Some(rule), Some(max_length), false) =
            (self.cuts, self.max_length, self.truncates_left)
        {
            let mut from = max_length.saturating_add(1).saturating_mul(BYTES);
            while from < text.len()
                && let Some(end) = rule.next(&text, from, self.words.as_deref())
            {
                let ids = self.text_ids(&text[..end], cache.as_deref_mut())?;
                if ids.len() > max_length {
                    return Ok(TextTokens::beginning(ids, max_length));
                }
                from = 2 * end;
            }
        }
        Ok(TextTokens::all(self.text_ids(&text, cache)?))
    }

    /// The ids of a text without special tokens.
    fn text_ids(
        &self,
        text: &str,
        cache: Option<&mut WordCache>,
    ) -> Result<Vec<u32>, EncoderError> {
        if let (Some(words), Some(cache)) = (&self.words, cache)
            && let Some(ids) =
                words.encode(&self.inner, text, cache).map_err(EncoderError::tokenizer)?
        {
            return Ok(ids);
        }
        let encoding = self.inner.encode_fast(text, false).map_err(EncoderError::tokenizer)?;
        Ok(encoding.get_ids().to_vec())
    }
}

/// The text with its prompt prepended.
fn with_prompt<'a>(text: Text<'a>) -> Cow<'a, str> {
    match text.prompt {
        None => Cow::Borrowed(text.text),
        Some(prompt) => Cow::Owned(format!("{}{}", prompt.text, text.text)),
    }
}
