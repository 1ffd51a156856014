//! Where a long text can be cut before it is tokenised.
//!
//! Only the first tokens of a text that is longer than the model's maximum length are used. They
//! are the tokens of its beginning, if that ends where the tokenizer always starts a new word.

use crate::tokenizer::word_cache::{SPACE, WordEncoder};
use tokenizers::normalizers::Replace;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, NormalizerWrapper, PreTokenizerWrapper,
};

/// The places at which texts may be cut for one tokenizer: the tokens of a text up to such a place
/// are the first tokens of the whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutRule {
    /// Where [`WordEncoder::is_cut`] says so. Valid for BERT.
    BesideDelimiters,
    /// Before a space that follows a visible character.
    ///
    /// Valid if the tokenizer starts a new word there whatever follows, and no normalizer and no
    /// added token reaches across it.
    BeforeSpaces,
}

impl CutRule {
    /// The rule for a tokenizer; `None` when it is not known where its words end.
    pub(super) fn new(
        tokenizer: &tokenizers::Tokenizer,
        words: Option<&WordEncoder>,
    ) -> Option<CutRule> {
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder().values();
        let added: Vec<&AddedToken> = added.collect();
        if words.is_some_and(WordEncoder::has_cuts) && !added.iter().any(|token| token.single_word)
        {
            return Some(CutRule::BesideDelimiters);
        }
        let divided = words.is_some() || divides_before_spaces(tokenizer);
        let spans_words = added.iter().any(|token| has_space_inside(&token.content));
        (divided && !spans_words).then_some(CutRule::BeforeSpaces)
    }

    /// The first place at or after byte `from` at which the text may be cut.
    pub(super) fn next(
        self,
        text: &str,
        from: usize,
        words: Option<&WordEncoder>,
    ) -> Option<usize> {
        let from = text.ceil_char_boundary(from.max(1));
        let mut last = text[..from].chars().next_back()?;
        for (at, next) in text[from..].char_indices() {
            let place = from + at;
            let is_cut = match (self, words) {
                (CutRule::BesideDelimiters, Some(words)) => words.is_cut(text, place, [last, next]),
                _ => next == ' ' && is_visible(last),
            };
            if is_cut {
                return Some(place);
            }
            last = next;
        }
        None
    }
}

/// Whether a character is visible on its own under every normalizer. Other characters may be so
/// too; then the text is cut at a later place.
fn is_visible(character: char) -> bool {
    character.is_ascii_graphic()
        || matches!(
            character,
            'À'..='ʯ' | 'Ά'..='ԯ' | 'א'..='ת' | 'ء'..='ي' | 'ऄ'..='ह' | 'ぁ'..='ヿ' | '一'..='鿿'
                | '가'..='힣'
        )
}

/// Whether a space follows another character in the content of an added token.
fn has_space_inside(content: &str) -> bool {
    let is_space = |character: char| character.is_whitespace() || SPACE.contains(character);
    content.trim_start_matches(is_space).contains(is_space)
}

/// Whether a space that follows a visible character always starts a new word, and the words before
/// it do not depend on what follows.
fn divides_before_spaces(tokenizer: &tokenizers::Tokenizer) -> bool {
    let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() else { return false };
    let steps = match pre_tokenizer {
        PreTokenizerWrapper::Sequence(steps) => steps.as_ref(),
        step => std::slice::from_ref(step),
    };
    let Some(space) = normalized_space(tokenizer.get_normalizer()) else { return false };
    let divides = |step: &PreTokenizerWrapper| match step {
        PreTokenizerWrapper::Metaspace(step) => {
            step.split && (space == ' ' || space == step.get_replacement())
        }
        PreTokenizerWrapper::ByteLevel(step) => step.use_regex && space == ' ',
        PreTokenizerWrapper::BertPreTokenizer(_)
        | PreTokenizerWrapper::Whitespace(_)
        | PreTokenizerWrapper::WhitespaceSplit(_) => space == ' ',
        _ => false,
    };
    // Steps that look at one character at a time.
    let is_local = |step: &PreTokenizerWrapper| {
        matches!(step, PreTokenizerWrapper::Punctuation(_) | PreTokenizerWrapper::Digits(_))
    };
    steps.iter().any(divides) && steps.iter().all(|step| divides(step) || is_local(step))
}

/// What the normalizer makes of a space between visible characters, if it is one character and the
/// text before it does not depend on what follows.
fn normalized_space(normalizer: Option<&NormalizerWrapper>) -> Option<char> {
    let Some(normalizer) = normalizer else { return Some(' ') };
    if !keeps_beginnings(normalizer) {
        return None;
    }
    let mut probe = NormalizedString::from("a b");
    normalizer.normalize(&mut probe).ok()?;
    let (start, end) = (probe.get().find('a')?, probe.get().find('b')?);
    let mut between = probe.get()[start + 1..end].chars();
    between.next().filter(|_| between.next().is_none())
}

/// Whether the beginning of a text, up to a space that follows a visible character, is normalised
/// in the same way whatever follows.
fn keeps_beginnings(normalizer: &NormalizerWrapper) -> bool {
    match normalizer {
        NormalizerWrapper::Sequence(steps) => steps.as_ref().iter().all(keeps_beginnings),
        NormalizerWrapper::Replace(replace) => is_known(replace),
        NormalizerWrapper::ByteLevel(_) => false,
        NormalizerWrapper::BertNormalizer(_)
        | NormalizerWrapper::StripNormalizer(_)
        | NormalizerWrapper::StripAccents(_)
        | NormalizerWrapper::NFC(_)
        | NormalizerWrapper::NFD(_)
        | NormalizerWrapper::NFKC(_)
        | NormalizerWrapper::NFKD(_)
        | NormalizerWrapper::Lowercase(_)
        | NormalizerWrapper::Nmt(_)
        | NormalizerWrapper::Precompiled(_)
        | NormalizerWrapper::Prepend(_) => true,
    }
}

/// Whether a replacement is one of those that models use: of spaces, and of quotation marks.
fn is_known(replace: &Replace) -> bool {
    let runs = || ReplacePattern::Regex(" {2,}".to_owned());
    let single = |pattern: &str| ReplacePattern::String(pattern.to_owned());
    let known = [
        (single(" "), SPACE),
        (runs(), " "),
        (runs(), SPACE),
        (single("``"), "\""),
        (single("''"), "\""),
    ];
    known.into_iter().any(|(pattern, content)| {
        Replace::new(pattern, content).is_ok_and(|known| known == *replace)
    })
}
