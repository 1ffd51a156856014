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

#[test]
fn models_that_lack_tensors() {
    let dir = TestDir::new();
    dir.pairs();
    dir.samples();
    dir.labeled();
    dir.encoder();
    dir.dual_encoder();
    let config = dir.read("bert/config.json");
    let layers = "\"num_hidden_layers\":";
    assert!(config.contains(&format!("{layers}1")), "{config}");
    dir.write("bert/config.json", &config.replace(&format!("{layers}1"), &format!("{layers}9")));
    let predict = ["predict", "--model", "bert", "--input", "pairs.jsonl"];
    assert_error(&dir, "missing_layers", &predict);

    let pairs = ["--dataset", "pairs.jsonl"];
    let mine = [&["mine", "--output", "m.jsonl"], &pairs[..]].concat();
    let recipe = "[model]\npath = \"bert\"\n[dataset]\npath = \"labeled.jsonl\"\n\
        [loss]\nname = \"BinaryCrossEntropyLoss\"\n[arguments]\noutput_dir = \"run\"\n";
    dir.write("r.toml", recipe);
    let evaluate = ["evaluate", "correlation", "--dataset", "labeled.jsonl", "--model", "bert"];
    let encode = ["encode", "--input", "pairs.jsonl", "--column", "query", "--output", "x.npy"];
    for arguments in [
        &[
            "rank",
            "--query",
            "q",
            "--documents",
            "pairs.jsonl",
            "--column",
            "answer",
            "--model",
            "bert",
        ][..],
        &[&encode[..], &["--model", "bert"]].concat(),
        &[&mine[..], &["--model", "bert"]].concat(),
        &[&mine[..], &["--model", "static", "--cross-encoder", "bert"]].concat(),
        &evaluate,
        &["serve", "--model", "bert", "--port", "0"],
        &["info", "bert"],
        &["train", "r.toml"],
    ] {
        let error = dir.fail(1, arguments);
        let expected = "128 of the 149 tensors of the transformer are missing";
        assert!(error.contains(expected), "{arguments:?}: {error}");
        assert!(error.contains("hint: the checkpoint is incomplete"), "{arguments:?}: {error}");
    }
    for written in ["m.jsonl", "x.npy"] {
        assert!(!dir.path(written).exists(), "{written}");
    }
}
