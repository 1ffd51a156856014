//! Where a long text can be cut before it is tokenised.
//!
//! Only the first tokens of a text that is longer than the model's maximum length are used. They
//! are the tokens of its beginning, if that ends where the tokenizer always starts a new word.

use crate::tokenizer::word_encoder::{SPACE, WordEncoder};
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::ChaCha8Rng;
    use rand::{RngExt, SeedableRng};
    use serde_json::{Value, json};

    const PIECES: [&str; 34] = [
        ".",
        "..",
        "a",
        "aa",
        " the",
        "river ",
        "moon,",
        "don't",
        "x=y",
        "[",
        "[SEP",
        "[M]",
        " [M]",
        "</s>",
        "\u{6771}\u{4eac}",
        "\u{6771}\u{301}",
        "\u{d55c} ",
        "\u{43c}\u{43e} ",
        "\u{644}",
        "\u{308}",
        "a\u{308}\u{301}",
        ".\u{338}",
        "\u{200b}",
        "\u{0}",
        "\u{a0}",
        "\u{3000}",
        "\u{600} ",
        " ",
        "  ",
        "\n",
        " \n",
        "3",
        "a [x] . [y]",
        "the river the",
    ];

    /// Checks for every place where `rule` cuts random texts that the tokens before it are the
    /// first ones of the whole text.
    #[track_caller]
    fn check(json: &Value, rule: CutRule) {
        let tokenizer: tokenizers::Tokenizer = json.to_string().parse().expect("tokenizer");
        let words = WordEncoder::new(&tokenizer);
        assert_eq!(CutRule::new(&tokenizer, words.as_ref()), Some(rule));
        let ids =
            |text: &str| tokenizer.encode_fast(text, false).expect("tokens").get_ids().to_vec();
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut cuts = 0;
        for _ in 0..150 {
            let pieces = (0..rng.random_range(2..14)).map(|_| PIECES[rng.random_range(0..34)]);
            let text: String = pieces.collect();
            let whole = ids(&text);
            let mut from = 0;
            while let Some(place) = rule.next(&text, from, words.as_ref()) {
                assert!(whole.starts_with(&ids(&text[..place])), "{text:?} at byte {place}");
                from = place + 1;
                cuts += 1;
            }
        }
        assert!(cuts > 100, "only {cuts} cuts");
    }

    #[track_caller]
    fn check_none(json: &Value) {
        let tokenizer: tokenizers::Tokenizer = json.to_string().parse().expect("tokenizer");
        let words = WordEncoder::new(&tokenizer);
        assert_eq!(CutRule::new(&tokenizer, words.as_ref()), None);
    }

    fn tokenizer(normalizer: Value, pre_tokenizer: Value, model: Value) -> Value {
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
            "normalizer": normalizer, "pre_tokenizer": pre_tokenizer, "post_processor": null,
            "decoder": null, "model": model,
        })
    }

    fn with_added(mut json: Value, content: &str, fields: &[&str]) -> Value {
        let has = |name| fields.contains(&name);
        let token = json!({
            "id": 90, "content": content, "single_word": has("single_word"),
            "lstrip": has("lstrip"), "rstrip": has("rstrip"), "normalized": has("normalized"),
            "special": false,
        });
        json["added_tokens"].as_array_mut().expect("tokens").push(token);
        json
    }

    fn bert(lowercase: bool, chinese: bool) -> Value {
        let tokens = ["[UNK]", "a", "##a", ".", "the", "river", "[", "]", "x", "y", "\u{6771}"];
        let vocabulary: Value = tokens.iter().zip(0..).map(|(token, id)| (*token, id)).collect();
        let normalizer = json!({
            "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": chinese,
            "strip_accents": null, "lowercase": lowercase,
        });
        let model = json!({
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 9, "vocab": vocabulary,
        });
        tokenizer(normalizer, json!({"type": "BertPreTokenizer"}), model)
    }

    fn byte_pairs() -> Value {
        let alphabet = tokenizers::pre_tokenizers::byte_level::ByteLevel::alphabet();
        let mut alphabet: Vec<String> = alphabet.into_iter().map(String::from).collect();
        alphabet.sort_unstable();
        let merges = [". .", "\u{120} t", "\u{120}t h", "a a", "\u{120} \u{120}", "r i"];
        let tokens = alphabet.into_iter().chain(merges.map(|merge| merge.replace(' ', "")));
        let vocabulary: Value = tokens.zip(0..).collect();
        json!({
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
            "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false,
            "vocab": vocabulary, "merges": merges,
        })
    }

    fn unigram() -> Value {
        let pieces = json!([
            ["<unk>", 0.0],
            ["\u{2581}", -2.0],
            ["\u{2581}the", -3.0],
            ["a", -4.1],
            ["aa", -4.3],
            [".", -4.2],
            ["..", -4.9],
            ["moon", -5.0],
            ["n", -5.5],
            ["\u{6771}", -6.1],
        ]);
        json!({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false})
    }

    fn metaspace(split: bool) -> Value {
        let scheme = "always";
        json!({
            "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": split,
        })
    }

    fn sequence(kind: &str, steps: Value) -> Value {
        json!({"type": "Sequence", kind: steps})
    }

    #[test]
    fn bert_is_cut_beside_delimiters() {
        check(&bert(true, true), CutRule::BesideDelimiters);
        check(&bert(false, false), CutRule::BesideDelimiters);
    }

    #[test]
    fn no_cut_is_inside_an_added_token() {
        let bert = || bert(true, true);
        check(&with_added(bert(), "a [x] . [y]", &[]), CutRule::BesideDelimiters);
        check(&with_added(bert(), "[M]", &["lstrip", "rstrip"]), CutRule::BesideDelimiters);
        check(&with_added(bert(), "..", &["single_word"]), CutRule::BeforeSpaces);
        check(&with_added(bert(), "moon,", &["normalized"]), CutRule::BeforeSpaces);
        check_none(&with_added(bert(), "the river the", &["normalized"]));
        check_none(&with_added(bert(), "a [x] . [y]", &["single_word"]));
    }

    #[test]
    fn byte_pairs_are_cut_before_spaces() {
        for prefix in [false, true] {
            let bytes = |use_regex: bool| {
                json!({
                    "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
                    "use_regex": use_regex,
                })
            };
            check(&tokenizer(json!(null), bytes(true), byte_pairs()), CutRule::BeforeSpaces);
            let digits = json!({"type": "Digits", "individual_digits": true});
            let steps = sequence("pretokenizers", json!([digits, bytes(true)]));
            let json = tokenizer(json!({"type": "NFKC"}), steps, byte_pairs());
            check(&json, CutRule::BeforeSpaces);
            check(&with_added(json, "  ", &["normalized"]), CutRule::BeforeSpaces);
            check_none(&tokenizer(json!(null), bytes(false), byte_pairs()));
        }
    }

    #[test]
    fn pieces_of_sentences_are_cut_before_spaces() {
        let runs = json!({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "});
        let steps = json!([{"type": "NFKC"}, {"type": "Lowercase"}, runs]);
        let normalizer = || sequence("normalizers", steps.clone());
        check(&tokenizer(json!(null), metaspace(true), unigram()), CutRule::BeforeSpaces);
        check(&tokenizer(normalizer(), metaspace(true), unigram()), CutRule::BeforeSpaces);
        let words =
            sequence("pretokenizers", json!([{"type": "WhitespaceSplit"}, metaspace(true)]));
        check(&tokenizer(normalizer(), words, unigram()), CutRule::BeforeSpaces);
        check_none(&tokenizer(normalizer(), metaspace(false), unigram()));
        let across = json!({"type": "Replace", "pattern": {"Regex": "a b"}, "content": "c"});
        check_none(&tokenizer(across, metaspace(true), unigram()));
    }
}
