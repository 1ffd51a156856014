//! `rankforge distill-static`: a static model from a transformer.

use crate::support::TestDir;
use serde_json::Value;

fn tokenizer(dir: &TestDir, model: &str) -> Value {
    serde_json::from_str(&dir.read(&format!("{model}/tokenizer.json"))).unwrap()
}

#[test]
fn a_transformer_becomes_a_static_model_that_other_commands_open() {
    let dir = TestDir::new();
    dir.encoder();
    dir.pairs();
    let distill = ["distill-static", "--model", "bert", "--dimension", "8", "--json"];
    let json = dir.json(&[&distill[..], &["--output", "small"]].concat());
    assert_eq!(json["dimension"], 8);
    let explained = json["explained_variance"].as_f64().unwrap();
    assert!(explained > 0.5 && explained < 1.0, "{json}");
    let info = dir.json(&["info", "small", "--json"]);
    let facts = (&info["architecture"], &info["dimensions"], &info["vocabulary"]);
    assert_eq!(facts, (&"static embeddings".into(), &8.into(), &json["tokens"]), "{info}");
    let encode = ["encode", "--model", "small", "--input", "pairs.jsonl", "--column", "query"];
    dir.succeed(&[&encode[..], &["--output", "x.npy"]].concat());

    // Special tokens are gone but for two, and the ids are those of the rows.
    let vocabulary = tokenizer(&dir, "small")["model"]["vocab"].clone();
    let (before, after) = (tokenizer(&dir, "bert"), vocabulary.as_object().unwrap());
    assert!(after.contains_key("[UNK]") && after.contains_key("[PAD]"), "{after:?}");
    assert!(!after.contains_key("[CLS]") && !after.contains_key("[SEP]"));
    let dropped = before["model"]["vocab"].as_object().unwrap().len() - after.len();
    assert!((2..=3).contains(&dropped), "{dropped} tokens were dropped");
    assert!(after.values().enumerate().all(|(row, id)| *id == row), "{after:?}");
}

#[test]
fn words_of_a_vocabulary_become_tokens() {
    let dir = TestDir::new();
    dir.encoder();
    dir.write("words.txt", "Zebra\n\nzebra\nnew york\nthe\n");
    let distill = ["distill-static", "--model", "bert", "--dimension", "8", "--json"];
    let plain = dir.json(&[&distill[..], &["--output", "plain"]].concat());
    let more = ["--vocabulary", "words.txt", "--output", "more"];
    let json = dir.json(&[&distill[..], &more].concat());
    let vocabulary = tokenizer(&dir, "more")["model"]["vocab"].clone();
    assert!(!vocabulary["zebra"].is_null() && !vocabulary["new york"].is_null(), "{vocabulary}");
    let added = json["tokens"].as_u64().unwrap() - plain["tokens"].as_u64().unwrap();
    let new_the = tokenizer(&dir, "plain")["model"]["vocab"]["the"].is_null();
    assert_eq!(added, 2 + u64::from(new_the));
    let texts = ["a zebra in new york"].map(|text| serde_json::json!({ "text": text }));
    dir.json_lines("texts.jsonl", texts.into_iter());
    let encode = ["encode", "--model", "more", "--input", "texts.jsonl", "--column", "text"];
    dir.succeed(&[&encode[..], &["--output", "x.npy"]].concat());
}

#[test]
fn what_cannot_be_distilled_is_refused() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    std::fs::create_dir(dir.path("notes")).unwrap();
    dir.write("notes/notes.txt", "mine");
    dir.write("empty.txt", "\n");
    for (more, expected) in [
        (&["--model", "static", "--output", "x"][..], "expected a teacher with a transformer"),
        (&["--model", "bert", "--output", "notes"], "notes"),
        (&["--model", "bert", "--output", "x", "--sif-coefficient", "1"], "above 0 and below 1"),
        (&["--model", "bert", "--output", "x", "--token-remove-pattern", "("], "regular expr"),
        (
            &["--model", "bert", "--output", "x", "--token-remove-pattern", "."],
            "at least one token",
        ),
        (&["--model", "bert", "--output", "x", "--vocabulary", "empty.txt"], "at least one word"),
    ] {
        let error = dir.fail(1, &[&["distill-static"][..], more].concat());
        assert!(error.contains(expected), "{more:?}: {error}");
    }
    assert_eq!(dir.read("notes/notes.txt"), "mine");
    assert!(!dir.path("x").exists());
    let mut words = tokenizer(&dir, "bert");
    words["model"] = serde_json::json!({
        "type": "WordLevel", "vocab": words["model"]["vocab"], "unk_token": "[UNK]",
    });
    dir.write("bert/tokenizer.json", &words.to_string());
    let error = dir.fail(1, &["distill-static", "--model", "bert", "--output", "x"]);
    assert!(error.contains("tokenizer"), "{error}");
}
