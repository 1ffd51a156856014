//! The files of a tokenizer, and texts for it.
//!
//! An input is parts with a zero byte between them: `tokenizer.json`, `tokenizer_config.json`,
//! `vocab.txt`, two texts, `config.json`, `special_tokens_map.json`, `added_tokens.json`,
//! `vocab.json` and `merges.txt`. An empty part is a file that is not there.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rankforge_encoder::{Input, Tokenizer, Tokens};
use rankforge_fuzz::{with_folder, write};
use std::path::Path;

/// The files before the texts.
const FILES: [&str; 3] = ["tokenizer.json", "tokenizer_config.json", "vocab.txt"];

/// The files after the texts.
const MORE_FILES: [&str; 5] =
    ["config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt"];

fuzz_target!(|data: &[u8]| {
    with_folder(data.len(), |folder| {
        let mut parts = data.splitn(10, |byte| *byte == 0);
        let write_part = |name: &str, part: Option<&[u8]>| {
            if let Some(part) = part.filter(|part| !part.is_empty()) {
                write(folder, name, part);
            }
        };
        FILES.iter().for_each(|name| write_part(name, parts.next()));
        let text = |part: Option<&[u8]>| String::from_utf8_lossy(part.unwrap_or_default()).into();
        let (first, second): (String, String) = (text(parts.next()), text(parts.next()));
        MORE_FILES.iter().for_each(|name| write_part(name, parts.next()));
        match Tokenizer::load(folder) {
            // With dropout the same text has other tokens each time.
            Ok(_) if drops_out(folder) => {}
            Ok(tokenizer) => check(folder, &tokenizer, &first, &second),
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains(&*folder.to_string_lossy()), "{message}");
            }
        }
    });
});

fn check(folder: &Path, tokenizer: &Tokenizer, first: &str, second: &str) {
    let inputs = [
        Input::single(first),
        Input::pair(first, second),
        Input::single(""),
        Input::single("a b"),
        Input::pair(second, ""),
    ];
    // A tokenizer may fail at a text, for instance at an unknown character.
    let Ok(tokens) = tokenizer.encode(&inputs) else { return };
    assert_eq!(tokens.len(), inputs.len());
    for tokens in &tokens {
        check_tokens(tokenizer, tokens);
    }
    for (input, expected) in inputs.iter().zip(&tokens) {
        let alone = tokenizer.encode(&[*input]).expect("it could be tokenised before");
        assert!(same(&alone[0], expected), "{alone:?} is not {expected:?}");
    }
    let saved = folder.join("saved");
    std::fs::create_dir(&saved).expect("the folder can be written");
    tokenizer.save(&saved).expect("the folder can be written");
    // A model is saved with its config, which may say what the class of the tokenizer is.
    if let Ok(config) = std::fs::read(folder.join("config.json")) {
        write(&saved, "config.json", &config);
    }
    if let Some(ids) = reference(&saved, tokenizer, first) {
        assert_eq!(tokens[0].ids, ids, "the tokenizers crate has others for {first:?}");
    }
    let again = Tokenizer::load(&saved).expect("what was saved can be loaded");
    assert_eq!(again.vocab_size(), tokenizer.vocab_size());
    assert_eq!(again.max_length(), tokenizer.max_length());
    let after = again.encode(&inputs).expect("it could be tokenised before");
    assert!(after.iter().zip(&tokens).all(|(a, b)| same(a, b)), "saved: {after:?}, {tokens:?}");
}

fn check_tokens(tokenizer: &Tokenizer, tokens: &Tokens) {
    assert_eq!(tokens.ids.len(), tokens.type_ids.len());
    let largest = tokens.ids.iter().max().map_or(0, |id| *id as usize + 1);
    assert!(largest <= tokenizer.vocab_size(), "{largest} > {}", tokenizer.vocab_size());
    if tokens.truncated {
        assert!(tokenizer.max_length().is_some(), "cut without a limit");
    }
}

fn same(a: &Tokens, b: &Tokens) -> bool {
    (&a.ids, &a.type_ids, a.truncated) == (&b.ids, &b.type_ids, b.truncated)
}

/// The ids that the tokenizers crate itself gives to a text that is not cut, with the
/// `tokenizer.json` that was saved. It does not know whether special tokens are split.
fn reference(folder: &Path, tokenizer: &Tokenizer, text: &str) -> Option<Vec<u32>> {
    let mut theirs = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).ok()?;
    if contains(folder, "tokenizer_config.json", b"split_special_tokens") {
        return None;
    }
    theirs.with_padding(None);
    theirs.with_truncation(None).ok()?;
    let encoding = theirs.encode(text, true).ok()?;
    let fits = tokenizer.max_length().is_none_or(|length| encoding.len() <= length);
    fits.then(|| encoding.get_ids().to_vec())
}

fn drops_out(folder: &Path) -> bool {
    contains(folder, "tokenizer.json", b"dropout")
}

/// Whether a file contains these bytes.
fn contains(folder: &Path, name: &str, bytes: &[u8]) -> bool {
    std::fs::read(folder.join(name))
        .is_ok_and(|text| text.windows(bytes.len()).any(|window| window == bytes))
}
