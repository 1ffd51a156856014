//! Tokenizers whose files contradict each other give the ids that Python gives, before and after
//! they are saved.

use crate::common::read_json;
use rankforge_encoder::{Input, Tokenizer, Tokens};
use serde_json::{Value, from_value};
use sha2::{Digest, Sha256};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// Number of characters of the hash of a text.
const HASH: usize = 4;

/// A hash of ids and segment ids.
fn hash(tokens: &Tokens) -> String {
    let list = |ids: &[u32]| ids.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let digest = Sha256::digest(format!("{}/{}", list(&tokens.ids), list(&tokens.type_ids)));
    digest.iter().take(HASH / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of each text; "fail" where the tokenizer fails.
fn hashes(tokenizer: &Tokenizer, inputs: &[Input<'_>]) -> Vec<String> {
    if let Ok(tokens) = tokenizer.encode(inputs) {
        return tokens.iter().map(hash).collect();
    }
    let alone = |input: &Input<'_>| match tokenizer.encode(&[*input]) {
        Ok(tokens) => hash(&tokens[0]),
        Err(_) => "fail".to_owned(),
    };
    inputs.iter().map(alone).collect()
}

/// What differs from the hashes of a case; `None` when nothing does.
fn difference(tokenizer: &Tokenizer, inputs: &[Input<'_>], case: &Value) -> Option<String> {
    let found = hashes(tokenizer, inputs);
    let expected = case["hashes"].as_str().expect("hashes").as_bytes().chunks(HASH);
    let pairs = found.iter().zip(expected);
    let wrong = pairs.enumerate().filter(|(_, (found, expected))| found.as_bytes() != *expected);
    let wrong: Vec<usize> = wrong.map(|(index, _)| index).collect();
    let first = *wrong.first()?;
    Some(format!(
        "{}: {} of {} texts have other ids; {:?} gives {:?}, not {}",
        case["name"],
        wrong.len(),
        found.len(),
        inputs[first],
        tokenizer.encode(&[inputs[first]]),
        case["ids"][first]
    ))
}

/// A folder with these files.
fn folder<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> TempDir {
    let folder = TempDir::new().expect("folder");
    for (name, content) in files {
        fs::write(folder.path().join(name), content).expect("written");
    }
    folder
}

/// The tokenizer of a folder after it was saved beside the `config.json` of a model.
fn saved(tokenizer: &Tokenizer, from: &Path) -> Tokenizer {
    let folder = TempDir::new().expect("folder");
    tokenizer.save(folder.path()).expect("saved");
    if let Ok(config) = fs::read(from.join("config.json")) {
        fs::write(folder.path().join("config.json"), config).expect("written");
    }
    Tokenizer::load(folder.path()).expect("what was saved can be loaded")
}

#[test]
fn contradicting_files_give_the_ids_of_the_python_class_also_after_saving() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tokenizers.json");
    let mut fixture = read_json(&path);
    let texts: Vec<String> = from_value(fixture["texts"].take()).expect("texts");
    let contents: Vec<String> = from_value(fixture["contents"].take()).expect("contents");
    assert_eq!(texts.len(), 1000);
    let input = |index: usize| match index % 3 {
        0 => Input::pair(&texts[index], &texts[(index + 1) % texts.len()]),
        _ => Input::single(&texts[index]),
    };
    let inputs: Vec<Input<'_>> = (0..texts.len()).map(input).collect();
    let mut differences = Vec::new();
    for case in fixture["cases"].as_array().expect("cases") {
        let files = case["files"].as_object().expect("files").iter();
        let content = |index: &Value| contents[index.as_u64().expect("index") as usize].as_str();
        let folder = folder(files.map(|(name, index)| (name.as_str(), content(index))));
        let tokenizer = Tokenizer::load(folder.path()).expect("tokenizer");
        let again = saved(&tokenizer, folder.path());
        assert_eq!(again.vocab_size(), tokenizer.vocab_size(), "{}", case["name"]);
        assert_eq!(again.max_length(), tokenizer.max_length(), "{}", case["name"]);
        differences.extend(difference(&tokenizer, &inputs, case));
        let after = difference(&again, &inputs, case);
        differences.extend(after.map(|text| format!("saved {text}")));
    }
    assert!(differences.is_empty(), "{differences:#?}");
}
