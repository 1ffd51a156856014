//! Compares tokenising word by word, with a cache, with the tokenizers crate on whole texts.

use crate::common::fixture;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rankforge_encoder::{Input, Tokenizer};
use serde_json::{Value, json};

/// Pieces of the texts: words, characters that normalizers treat specially, and (the last seven)
/// special tokens or parts of them.
const PIECES: [&str; 67] = [
    "the",
    "The",
    "river",
    "mountain",
    "fish",
    "moon,",
    "cold.",
    "unbaked",
    "UnBaked",
    "NASA2026",
    "2nd",
    "don't",
    "U.S.",
    "a",
    "I",
    "3.14",
    "1,000",
    "e-mail",
    "(see",
    "below)",
    "\"quoted\"",
    "C++",
    "x=y",
    "###",
    "--",
    "...",
    "?!",
    "Br\u{eb}ad",
    "bre\u{308}ad",
    "\u{308}",
    "\u{308}\u{301}a",
    "\u{301}\u{327}",
    "\u{130}stanbul",
    "STRA\u{df}E",
    "\u{3a3}\u{3a3}",
    "na\u{ef}ve",
    "\u{6771}\u{4eac}",
    "fish\u{6771}fish",
    "\u{d55c}\u{ad6d}\u{c5b4}",
    "\u{1112}\u{1161}\u{11ab}",
    "\u{43c}\u{43e}\u{441}\u{43a}\u{432}\u{430}",
    "\u{627}\u{644}\u{639}",
    "\u{926}\u{93f}\u{932}",
    "\u{1f600}",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{200b}",
    "\u{feff}",
    "\u{fffd}",
    "\u{0}",
    "\u{7}",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{b}",
    "\u{2013}",
    "\u{201c}moon\u{201d}",
    "\u{2581}",
    "\u{2581}\u{2581}moon",
    "\u{fb01}sh",
    "\u{2460}",
    "<s",
    "[SEP",
    "[MASK]",
    "[CLS]",
    "</s>",
    "<unk>",
    "[UNK]moon",
];

/// White space between pieces.
const SEPARATORS: [&str; 10] = [" ", " ", " ", " ", " ", "", "  ", "\n", "\t", " \r\n   "];

/// Random texts of up to 30 pieces. Some contain special tokens, some words too long to be cached.
fn texts(count: usize) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut text = |number: usize| {
        // Texts with special tokens are not tokenised word by word, so most texts have none.
        let pieces = if number.is_multiple_of(5) { PIECES.len() } else { PIECES.len() - 7 };
        let mut text = String::new();
        for _ in 0..rng.random_range(0..30) {
            text.push_str(PIECES[rng.random_range(0..pieces)]);
            if rng.random_range(0..40) == 0 {
                text.push_str(&"river".repeat(rng.random_range(1..30)));
            }
            text.push_str(SEPARATORS[rng.random_range(0..SEPARATORS.len())]);
        }
        text
    };
    (0..count).map(&mut text).collect()
}

/// Compares the tokens of all texts, as single texts and in pairs.
#[track_caller]
fn check(json: &str) {
    let mut whole: tokenizers::Tokenizer = json.parse().expect("tokenizer");
    whole.with_padding(None).with_truncation(None).expect("none");
    let words = Tokenizer::from_json(json).expect("tokenizer");
    let texts = texts(3000);
    let single = texts.iter().map(Input::single);
    let pairs = texts.windows(2).step_by(5).map(|pair| Input::pair(&pair[0], &pair[1]));
    let inputs: Vec<Input<'_>> = single.chain(pairs).collect();
    for (input, got) in inputs.iter().zip(words.encode(&inputs).expect("tokens")) {
        let expected = match *input {
            Input { first, second: None } => whole.encode_fast(first.text, true),
            Input { first, second: Some(second) } => whole.encode_fast((first.text, second), true),
        };
        let expected = expected.expect("tokens");
        assert_eq!(got.ids, expected.get_ids(), "{input:?}");
        assert_eq!(got.type_ids, expected.get_type_ids(), "{input:?}");
    }
}

/// A WordPiece tokenizer whose vocabulary has words, parts of words and letters of the texts.
fn word_piece(normalizer: Value) -> String {
    let json = std::fs::read_to_string(fixture("ce_plain/tokenizer.json")).expect("file");
    let mut json: Value = serde_json::from_str(&json).expect("JSON");
    let vocabulary = json["model"]["vocab"].as_object_mut().expect("vocabulary");
    for part in [
        "un",
        "##baked",
        "##ad",
        "bre",
        "##r",
        "stan",
        "##bul",
        "\u{6771}",
        "'",
        ".",
        "?",
        "##\u{301}",
    ] {
        let next = vocabulary.len();
        vocabulary.entry(part).or_insert(json!(next));
    }
    for letter in 'a'..='z' {
        for token in [format!("{letter}"), format!("##{letter}")] {
            let next = vocabulary.len();
            vocabulary.entry(token).or_insert(json!(next));
        }
    }
    json["normalizer"] = normalizer;
    json.to_string()
}

#[test]
fn bert_tokenizers_give_the_same_tokens_word_by_word() {
    for (clean, chinese, accents, lower_case) in [
        (true, true, json!(null), true),
        (true, true, json!(null), false),
        (false, false, json!(true), false),
        (true, false, json!(false), true),
    ] {
        check(&word_piece(json!({
            "type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
            "strip_accents": accents, "lowercase": lower_case,
        })));
    }
}

/// A byte-pair encoding with these merges, in the form in which SentencePiece models are converted.
fn byte_pairs(merges: &[(&str, &str)]) -> Value {
    let special = ["<unk>", "<s>", "</s>"].map(str::to_owned);
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let letters = ('a'..='z').map(|letter| letter.to_string());
    let merged = merges.iter().map(|(left, right)| format!("{left}{right}"));
    let tokens = special.into_iter().chain(bytes).chain(letters).chain(["\u{2581}".to_owned()]);
    let mut vocabulary = serde_json::Map::new();
    for token in tokens.chain(merged) {
        let next = vocabulary.len();
        vocabulary.entry(token).or_insert(json!(next));
    }
    let added: Vec<Value> = ["<unk>", "<s>", "</s>"]
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({
                "id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        })
        .collect();
    let merge_lines: Vec<String> =
        merges.iter().map(|(left, right)| format!("{left} {right}")).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u{2581}"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
        ]},
        "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": "<s>", "type_id": 1}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": null,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true,
            "ignore_merges": false, "vocab": vocabulary, "merges": merge_lines,
        },
    })
}

const MERGES: [(&str, &str); 20] = [
    ("t", "h"),
    ("e", "r"),
    ("\u{2581}", "t"),
    ("\u{2581}t", "h"),
    ("\u{2581}th", "e"),
    ("th", "e"),
    ("\u{2581}", "\u{2581}"),
    ("\u{2581}\u{2581}", "\u{2581}\u{2581}"),
    ("i", "v"),
    ("iv", "er"),
    ("r", "iver"),
    ("\u{2581}", "river"),
    ("o", "o"),
    ("m", "oo"),
    ("moo", "n"),
    ("\u{2581}", "moon"),
    ("b", "a"),
    ("r", "e"),
    ("b", "re"),
    ("c", "o"),
];

#[test]
fn byte_pair_encodings_give_the_same_tokens_word_by_word() {
    check(&byte_pairs(&MERGES).to_string());
}

#[test]
fn tokenizers_that_depend_on_more_than_words_tokenise_whole_texts() {
    // A merge across a space, before the merges within words.
    let mut merges = vec![("e", "\u{2581}"), ("e\u{2581}", "m"), ("n", "\u{2581}")];
    merges.extend(MERGES);
    check(&byte_pairs(&merges).to_string());
    // A suffix marks the end of a word.
    let mut json = byte_pairs(&MERGES);
    json["model"]["byte_fallback"] = json!(false);
    json["model"]["vocab"]["n</w>"] = json!(9000);
    json["model"]["end_of_word_suffix"] = json!("</w>");
    check(&json.to_string());
    // An added token is searched for in the normalized text.
    let mut json = byte_pairs(&MERGES);
    json["added_tokens"][2]["normalized"] = json!(true);
    json["added_tokens"][2]["content"] = json!("the moon,");
    json["model"]["vocab"]["the moon,"] = json!(2);
    check(&json.to_string());
}
