//! Compares tokenising only the beginning of a long text with tokenising it whole, as the
//! tokenizers crate does.

use crate::common::fixture;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rankforge_encoder::{Input, Prompt, Text, Tokenizer};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

/// What long texts are made of: runs of these, with or without white space between them.
const RUNS: [&str; 30] = [
    ".",
    "...",
    "a",
    "the river ",
    "mountain",
    "moon,",
    "don't ",
    "x=y ",
    "[",
    "[SEP",
    "[MASK]",
    "<mask>",
    " <mask>",
    "</s>",
    "\u{6771}\u{4eac}",
    "\u{6771}\u{301}",
    "\u{d55c}\u{ad6d}\u{c5b4} ",
    "\u{43c}\u{43e}\u{441}\u{43a}\u{432}\u{430} ",
    "\u{627}\u{644}\u{639}",
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
];

/// Random texts of a few runs, most of them longer than what is tokenised at first.
fn texts(count: usize, seed: u64) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut text = |_| {
        let mut text = String::new();
        for _ in 0..rng.random_range(1..8) {
            let piece = RUNS[rng.random_range(0..RUNS.len())];
            text.push_str(&piece.repeat(rng.random_range(1..50)));
            text.push_str([" ", "", "\n", " a"][rng.random_range(0..4)]);
        }
        text
    };
    (0..count).map(&mut text).collect()
}

/// Compares the tokens of single texts and of pairs, among them pairs that share their first text,
/// for several maximum lengths.
#[track_caller]
fn check(json: &str) {
    let texts = texts(20, 7);
    let single = texts.iter().map(Input::single);
    let pairs = texts.windows(2).map(|pair| Input::pair(&pair[0], &pair[1]));
    let shared = texts.iter().skip(1).step_by(3).map(|text| Input::pair(&texts[0], text));
    let inputs: Vec<Input<'_>> = single.chain(pairs).chain(shared).collect();
    let mut cut = Tokenizer::from_json(json).expect("tokenizer");
    let mut whole: tokenizers::Tokenizer = json.parse().expect("tokenizer");
    whole.with_padding(None);
    for max_length in [9, 32] {
        cut.set_max_length(Some(max_length));
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        whole.with_truncation(Some(truncation)).expect("truncation");
        for (input, got) in inputs.iter().zip(cut.encode(&inputs).expect("tokens")) {
            let expected = match *input {
                Input { first, second: None } => whole.encode_fast(first.text, true),
                Input { first, second: Some(second) } => {
                    whole.encode_fast((first.text, second), true)
                }
            };
            let expected = expected.expect("tokens");
            assert_eq!(got.ids, expected.get_ids(), "{max_length} {input:?}");
            assert_eq!(got.truncated, !expected.get_overflowing().is_empty(), "{input:?}");
        }
    }
}

fn read(name: &str) -> Value {
    crate::common::read_json(&fixture(name).join("tokenizer.json"))
}

#[test]
fn bert_gives_the_tokens_of_the_whole_text() {
    check(&read("ce_plain").to_string());
    let mut cased = read("ce_plain");
    cased["normalizer"]["lowercase"] = json!(false);
    cased["normalizer"]["handle_chinese_chars"] = json!(false);
    check(&cased.to_string());
}

#[test]
fn byte_level_byte_pairs_give_the_tokens_of_the_whole_text() {
    check(&read("ce_roberta").to_string());
}

#[test]
fn a_shared_first_text_and_a_prompt_give_the_same_tokens_as_alone() {
    let mut tokenizer = Tokenizer::load(&fixture("ce_plain")).expect("tokenizer");
    tokenizer.set_max_length(Some(16));
    let prompts: Vec<Prompt> = ["why is ", "the "]
        .map(|text| tokenizer.prompt(text).expect("tokens").expect("a prompt"))
        .into();
    let texts = texts(60, 11);
    let inputs: Vec<Input<'_>> = (0..240)
        .map(|index| {
            let prompt = [None, Some(&prompts[0]), Some(&prompts[1])][index / 7 % 3];
            let first = Text { text: &texts[index / 5], prompt };
            Input { first, second: (index % 11 > 0).then_some(&*texts[index % 60]) }
        })
        .collect();
    let together = tokenizer.encode(&inputs).expect("tokens");
    for (input, expected) in inputs.iter().zip(together) {
        assert_eq!(tokenizer.encode(&[*input]).expect("tokens")[0], expected);
        let first = tokenizer.text_tokens(input.first).expect("tokens");
        assert_eq!(tokenizer.encode_after(&first, *input).expect("tokens"), expected);
    }
}

#[test]
fn the_time_for_a_long_text_does_not_depend_on_its_length() {
    let mut tokenizer = Tokenizer::load(&fixture("ce_plain")).expect("tokenizer");
    tokenizer.set_max_length(Some(512));
    // 64 million dots took minutes.
    let dots = ".".repeat(2_000_000);
    let inputs: Vec<Input<'_>> = (0..32).map(|_| Input::pair(&dots, "the river")).collect();
    #[expect(clippy::disallowed_methods, reason = "the time is what is tested")]
    let start = Instant::now();
    let tokens = tokenizer.encode(&inputs).expect("tokens");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(tokens.iter().all(|tokens| tokens.ids.len() == 512 && tokens.truncated));
}
