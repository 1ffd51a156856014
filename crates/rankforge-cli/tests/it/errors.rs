//! The main error messages, as snapshots.

use crate::snapshot::assert_snapshot;
use crate::support::TestDir;

/// A snapshot of the exit code and the standard error of a command that must fail.
fn assert_error(dir: &TestDir, name: &str, arguments: &[&str]) {
    let done = dir.run(arguments);
    assert_ne!(done.code, 0, "{arguments:?}\n{}", done.stdout);
    assert_eq!(done.stdout, "", "standard output of {arguments:?}");
    let text = format!("exit code {}\n{}", done.code, done.stderr);
    assert_snapshot(&format!("error_{name}"), arguments, &text);
}

#[test]
fn files() {
    let dir = TestDir::new();
    dir.pairs();
    dir.write("malformed.jsonl", "{\"text\": \"a\"}\n{\"text\": \n");
    std::fs::create_dir(dir.path("empty")).unwrap();
    assert_error(&dir, "missing_data", &["info", "nowhere.jsonl"]);
    assert_error(&dir, "malformed_row", &["info", "malformed.jsonl"]);
    let rank = ["rank", "--query", "q", "--documents", "pairs.jsonl", "--model"];
    assert_error(&dir, "missing_model", &[&rank[..], &["nowhere"]].concat());
    assert_error(&dir, "empty_model_directory", &[&rank[..], &["empty"]].concat());
    dir.encoder();
    let predict = ["predict", "--model", "bert", "--quiet", "--input", "nowhere.jsonl"];
    assert_error(&dir, "missing_input", &predict);
}

#[test]
fn columns() {
    let dir = TestDir::new();
    dir.pairs();
    dir.dual_encoder();
    let mine = ["mine", "--model", "static", "--dataset", "pairs.jsonl", "--output", "m.jsonl"];
    let columns = ["--columns", "query,answr"];
    assert_error(&dir, "missing_column", &[&mine[..], &columns].concat());
    let correlation = ["evaluate", "correlation", "--model", "m", "--dataset", "pairs.jsonl"];
    let columns = ["--columns", "query,answer"];
    assert_error(&dir, "too_few_columns", &[&correlation[..], &columns].concat());
}

#[test]
fn flags() {
    let dir = TestDir::new();
    assert_error(&dir, "unknown_flag", &["mine", "--num-negative", "3"]);
    assert_error(&dir, "unknown_command", &["minne"]);
    assert_error(&dir, "missing_flags", &["rank", "--top-k", "3"]);
    assert_error(&dir, "unknown_value", &["mine", "--output-format", "tripel"]);
    let predict = ["predict", "--model", "m", "--input", "i", "--max-length"];
    assert_error(&dir, "zero", &[&predict[..], &["0"]].concat());
    assert_error(&dir, "train_precision", &["train", "r.toml", "--precision", "bf16"]);
    assert_error(&dir, "evaluate_without_model", &["evaluate", "reranking", "--dataset", "x"]);
}

#[test]
fn recipes() {
    let dir = TestDir::new();
    let start = "[model]\npath = \"bert\"\n[dataset]\npath = \"labeled.jsonl\"\n";
    for (name, rest) in [
        ("recipe_field", "[arguments]\nlearning_rat = 1e-5\n"),
        ("recipe_section", "[los]\n"),
        ("recipe_type", "[arguments]\nlearning_rate = \"fast\"\n"),
        ("recipe_loss", "[loss]\nname = \"BinaryCrossEntropy\"\n"),
        ("recipe_model", ""),
    ] {
        dir.write("r.toml", &format!("{start}{rest}"));
        assert_error(&dir, name, &["train", "r.toml"]);
    }
    let set = ["train", "r.toml", "--set", "arguments.sed=1"];
    assert_error(&dir, "recipe_override", &set);
    assert_error(&dir, "missing_recipe", &["train", "nowhere.toml"]);
}
