//! Invalid command lines and unusable input: messages and exit codes.

use crate::support::{TestDir, finished};

#[test]
fn the_quickstart_replaces_nothing_that_it_did_not_write() {
    let dir = TestDir::new();
    let run = |folder: &str| {
        let arguments = ["quickstart", "--output", folder, "--num-train-epochs", "1", "--quiet"];
        dir.fail(1, &arguments)
    };
    dir.write("mine/pairs.jsonl", "mine");
    let error = run("mine");
    assert!(error.contains("mine: the directory exists and is not"), "{error}");
    dir.write("old/held-out/corpus.jsonl", "");
    dir.write("old/notes.txt", "mine");
    let error = run("old");
    assert!(error.contains("holds \"notes.txt\", which would be lost"), "{error}");
    std::fs::remove_file(dir.path("old/notes.txt")).unwrap();
    dir.write("old/reranker/own.txt", "mine");
    let error = run("old");
    assert!(error.contains("reranker: the directory exists and is not a model"), "{error}");
    assert_eq!(dir.list("mine"), ["pairs.jsonl"]);
    assert_eq!(dir.list("old"), ["held-out", "reranker"]);
}

#[test]
fn a_command_line_without_a_command_shows_the_help() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rankforge"));
    let done = finished(command.output().unwrap());
    assert_eq!(done.code, 2);
    assert!(done.stderr.contains("Workflow:"), "{}", done.stderr);
    assert_eq!(done.stdout, "");
}

#[test]
fn every_command_has_examples_in_its_help() {
    let dir = TestDir::new();
    let overview = dir.succeed(&["--help"]).stdout;
    let commands = [
        "mine",
        "train",
        "evaluate",
        "predict",
        "rank",
        "encode",
        "info",
        "serve",
        "quickstart",
        "completions",
        "man",
    ];
    for command in commands {
        assert!(overview.contains(&format!("\n  {command} ")), "{command} in {overview}");
        let help = dir.succeed(&[command, "--help"]).stdout;
        assert!(help.contains("Examples:"), "{command}: {help}");
        assert!(help.contains(&format!("rankforge {command}")), "{command}: {help}");
    }
}

#[test]
fn the_error_of_an_unknown_flag_suggests_the_nearest_one() {
    let error = TestDir::new().fail(2, &["mine", "--num-negative", "3"]);
    assert!(error.contains("--num-negatives"), "{error}");
}

#[test]
fn the_error_of_an_unknown_value_lists_the_accepted_ones() {
    let arguments = ["mine", "--output-format", "tripel", "--dataset", "d"];
    let error = TestDir::new().fail(2, &arguments);
    assert!(error.contains("labeled-pair"), "{error}");
}

#[test]
fn the_error_of_a_missing_file_names_it() {
    let dir = TestDir::new();
    let error = dir.fail(1, &["info", "nowhere.jsonl"]);
    assert!(error.starts_with("error: nowhere.jsonl: No such file or directory"), "{error}");
    assert!(error.contains("hint: paths are relative"), "{error}");
    let pairs = ["predict", "--model", "nowhere", "--input", "pairs.jsonl", "--columns", "a,b"];
    let error = dir.fail(1, &pairs);
    assert!(error.starts_with("error: "), "{error}");
    assert!(error.contains("nowhere"), "{error}");
}

#[test]
fn the_error_of_a_missing_column_lists_the_columns() {
    let dir = TestDir::new();
    dir.pairs();
    dir.dual_encoder();
    let arguments =
        ["mine", "--model", "static", "--dataset", "pairs.jsonl", "--output", "m.jsonl"];
    let error = dir.fail(1, &[&arguments[..], &["--columns", "query,answr"]].concat());
    assert!(error.contains("`answr`") && error.contains("answer"), "{error}");
    let named = ["--positive-column-name", "answr"];
    let error = dir.fail(1, &[&arguments[..], &named].concat());
    assert!(error.contains("`answr`") && error.contains("answer"), "{error}");
    assert_eq!(dir.list("."), ["pairs.jsonl", "static"]);
}

#[test]
fn the_error_of_a_malformed_row_names_its_line() {
    let dir = TestDir::new();
    dir.write("rows.jsonl", "{\"text\": \"a\"}\n{\"text\": \n");
    let error = dir.fail(1, &["info", "rows.jsonl"]);
    assert!(error.starts_with("error: rows.jsonl, line 2: "), "{error}");
}

#[test]
fn errors_in_a_recipe_name_the_line_and_the_nearest_field() {
    let dir = TestDir::new();
    let recipe = |text: &str| {
        let start = "[model]\npath = \"bert\"\n[dataset]\npath = \"labeled.jsonl\"\n";
        dir.write("r.toml", &format!("{start}{text}"));
        dir.fail(1, &["train", "r.toml"])
    };
    let cases = [
        ("[arguments]\nlearning_rat = 1\n", "r.toml, line 6: ", "learning_rate"),
        ("[los]\n", "r.toml, line 5: unknown section `los`", "`loss`"),
        ("[loss]\nname = \"BinaryCrossEntropy\"\n", "r.toml, line 6: ", "`BinaryCrossEntropyLoss`"),
        (
            "[loss]\npos_wight = 2\n",
            "r.toml, line 6: unknown field `pos_wight` in [loss]",
            "`pos_weight`",
        ),
        ("[mining]\nmodel = \"m\"\nnum_negative = 2\n", "r.toml, line 7: ", "`num_negatives`"),
        ("[[evaluators]]\ntype = \"x\"\n", "r.toml, line 6: ", "CrossEncoderCorrelationEvaluator"),
        (
            "[arguments]\nlearning_rate = \"fast\"\n",
            "r.toml, line 6: `arguments.learning_rate`",
            "fast",
        ),
        (
            "[arguments]\npush_to_hub = true\n",
            "r.toml, line 6: `arguments.push_to_hub`",
            "not supported",
        ),
        (
            "[arguments]\nfp16 = true\nbf16 = true\n",
            "r.toml, line 7: `arguments.bf16`",
            "at most one of bf16 and fp16",
        ),
    ];
    for (text, location, hint) in cases {
        let error = recipe(text);
        assert!(error.starts_with(&format!("error: {location}")), "{text}: {error}");
        assert!(error.contains(hint), "{text}: {error}");
    }
}

#[test]
fn set_is_checked_like_the_recipe() {
    let dir = TestDir::new();
    dir.write("r.toml", "[model]\npath = \"bert\"\n[dataset]\npath = \"labeled.jsonl\"\n");
    let error = dir.fail(2, &["train", "r.toml", "--set", "learning_rate"]);
    assert!(error.contains("expected section.field=value"), "{error}");
    let error = dir.fail(1, &["train", "r.toml", "--set", "arguments.sed=1"]);
    assert!(error.starts_with("error: override arguments.sed=1: "), "{error}");
    assert!(error.contains("seed"), "{error}");
}

#[test]
fn an_unknown_precision_and_train_with_precision_are_refused() {
    let dir = TestDir::new();
    let pairs = ["predict", "--model", "m", "--input", "pairs.jsonl", "--precision", "fp8"];
    let error = dir.fail(2, &pairs);
    assert!(error.contains("expected fp32, bf16 or fp16"), "{error}");
    let error = dir.fail(2, &["train", "r.toml", "--precision", "bf16"]);
    assert!(error.contains("--set arguments.bf16=true"), "{error}");
}

#[test]
fn missing_and_contradictory_flags_are_refused() {
    let dir = TestDir::new();
    let error = dir.fail(2, &["evaluate", "reranking", "--dataset", "x"]);
    assert!(error.contains("--model"), "{error}");
    let correlation = ["evaluate", "correlation", "--model", "m", "--dataset", "d"];
    let error = dir.fail(2, &[&correlation[..], &["--columns", "a,b"]].concat());
    assert!(error.contains("first text, second text, score"), "{error}");
}

#[test]
fn the_environment_selects_the_instruction_set() {
    let dir = TestDir::new();
    dir.dual_encoder();
    let with = |isa: &str| {
        let mut command = dir.command(&["info", "static"]);
        finished(command.env("RANKFORGE_ISA", isa).output().unwrap())
    };
    let scalar = with("scalar");
    assert_eq!(scalar.code, 0, "{}", scalar.stderr);
    assert!(scalar.stdout.contains("cpu, scalar, 2 threads"), "{}", scalar.stdout);
    let error = with("sse9").stderr;
    assert!(error.contains("RANKFORGE_ISA") && error.contains("\"sse9\""), "{error}");
}
