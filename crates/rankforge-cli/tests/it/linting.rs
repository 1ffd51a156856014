//! `rankforge lint`: findings as text and as JSON, rows left out, exit codes.

use crate::snapshot::{assert_json_snapshot, assert_snapshot};
use crate::support::TestDir;
use serde_json::{Value, json};

fn pair(query: &str, answer: &str, label: i64) -> Value {
    json!({ "query": query, "answer": answer, "label": label })
}

/// Pairs with a duplicate, a contradiction and an empty answer, and a test set with one of their
/// questions.
fn faulty(dir: &TestDir) {
    let train = [
        pair("what is a kiln", "an oven for clay", 1),
        pair("What is a  kiln", "an oven for clay", 1),
        pair("what is a kiln", "an oven for clay", 0),
        pair("where is rome", "", 1),
        pair("who wrote it", "nobody knows", 0),
    ];
    dir.json_lines("train.jsonl", train.into_iter());
    dir.json_lines("test.jsonl", [pair("Who wrote it?", "somebody", 1)].into_iter());
}

const LINT: [&str; 5] = ["lint", "--dataset", "train.jsonl", "--held-out", "test.jsonl"];

#[test]
fn findings_are_printed_with_examples_and_what_to_do() {
    let dir = TestDir::new();
    faulty(&dir);
    assert_snapshot("lint_text", &LINT, &dir.succeed(&LINT).stdout);
    let arguments = [&LINT[..], &["--json"]].concat();
    assert_json_snapshot("lint_json", &arguments, &dir.json(&arguments));
}

#[test]
fn errors_about_the_data_name_the_data_set() {
    let dir = TestDir::new();
    faulty(&dir);
    dir.json_lines("numbers.jsonl", [json!({"a": 1, "b": 2})].into_iter());
    dir.json_lines("labels.jsonl", [json!({"a": "x", "b": "y", "label": "z"})].into_iter());
    let expected = "error: numbers.jsonl: expected at least one column of texts, got the columns \
                    `a` and `b`";
    for arguments in [
        &["lint", "--dataset", "numbers.jsonl"][..],
        &["lint", "--dataset", "train.jsonl", "--held-out", "numbers.jsonl"],
    ] {
        let error = dir.fail(1, arguments);
        assert!(error.starts_with(expected), "{error}");
    }
    let error = dir.fail(1, &["lint", "--dataset", "labels.jsonl"]);
    assert!(error.starts_with("error: cannot use the labels of labels.jsonl\n"), "{error}");
}

#[test]
fn rows_are_left_out_and_the_rest_is_written() {
    let dir = TestDir::new();
    faulty(&dir);
    let remove = ["--remove", "empty-text,duplicate-row,leaked-query", "--output", "clean.jsonl"];
    let arguments = [&LINT[..], &remove].concat();
    assert_eq!(dir.json(&[&arguments[..], &["--json"]].concat())["output"]["rows"], 2);
    let kept: Vec<Value> =
        dir.read("clean.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = |label: i64| pair("what is a kiln", "an oven for clay", label);
    assert_eq!(kept, [expected(1), expected(0)]);

    // What is there stays.
    let error = dir.fail(1, &arguments);
    assert!(error.contains("clean.jsonl: the file exists"), "{error}");
}

#[test]
fn other_splits_of_a_data_set_are_held_out() {
    let dir = TestDir::new();
    faulty(&dir);
    std::fs::create_dir(dir.path("data")).unwrap();
    for name in ["train.jsonl", "test.jsonl"] {
        std::fs::rename(dir.path(name), dir.path(&format!("data/{name}"))).unwrap();
    }
    let found = dir.json(&["lint", "--dataset", "data", "--json"]);
    assert_eq!(found["held_out"], json!(["split test"]));
    let kinds = found["lint"]["findings"].as_array().unwrap().iter();
    assert!(kinds.into_iter().any(|finding| finding["kind"] == "leaked-query"), "{found}");
}

#[test]
fn strict_fails_on_errors_and_tokens_are_counted_by_a_tokenizer() {
    let dir = TestDir::new();
    faulty(&dir);
    dir.dual_encoder();
    // The findings are the result; the exit code is for scripts.
    let strict = dir.run(&[&LINT[..], &["--strict"]].concat());
    assert_eq!(strict.code, 1);
    assert!(strict.stdout.contains("leaked-query"), "{}", strict.stdout);
    assert!(strict.stderr.contains("findings that are errors: 4"), "{}", strict.stderr);
    dir.json_lines("ok.jsonl", [json!({ "query": "a kiln", "answer": "an oven" })].into_iter());
    let clean = ["lint", "--dataset", "ok.jsonl", "--strict"];
    assert!(dir.succeed(&clean).stdout.contains("nothing found"));
    let tokens = ["--tokenizer", "static", "--max-length", "1", "--json"];
    let found = dir.json(&[&clean[..], &tokens].concat());
    assert_eq!(found["lint"]["findings"][0]["kind"], "long-text", "{found}");
    let unknown = dir.fail(2, &[&LINT[..], &["--remove", "long-text", "--output", "x"]].concat());
    assert!(unknown.contains("expected one of empty-text"), "{unknown}");
}
