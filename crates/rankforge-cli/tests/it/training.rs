//! `rankforge train`: complete, interrupted and resumed runs, and inputs that are refused.

use crate::support::{TestDir, signal_after_first_log};

/// The recipe `r.toml` of [`setup`].
const RECIPE: &str = "\
[model]
path = \"bert\"
max_length = 32
[dataset]
path = \"pairs.jsonl\"
columns = [\"query\", \"answer\"]
[mining]
model = \"static\"
num_negatives = 2
output_format = \"labeled-pair\"
verbose = false
[loss]
name = \"BinaryCrossEntropyLoss\"
pos_weight = 2
[arguments]
output_dir = \"run\"
num_train_epochs = 2
per_device_train_batch_size = 4
learning_rate = 1e-3
eval_strategy = \"steps\"
eval_steps = 9
logging_steps = 3
save_steps = 9
seed = 7
[[evaluators]]
type = \"CrossEncoderRerankingEvaluator\"
path = \"samples.jsonl\"
name = \"tiny\"
";

/// The recipe that is suggested to those who have only pairs.
const ONE_HOUR: &str = include_str!("../../../../recipes/one-hour.toml");

/// A directory with a recipe and the models and data sets that it names.
pub(crate) fn setup() -> TestDir {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    dir.samples();
    dir.write("r.toml", RECIPE);
    dir
}

#[test]
fn a_recipe_trains_a_model_that_other_commands_can_open() {
    let dir = setup();
    let json = dir.json(&["train", "r.toml", "--json", "--quiet"]);
    assert_eq!(json["global_step"], 18);
    assert!(json["evaluation"]["eval_tiny_ndcg@10"].is_f64(), "{json}");
    for file in ["config.json", "model.safetensors", "modules.json", "README.md"] {
        assert!(dir.list("run/final").contains(&file.to_owned()), "{file}");
    }
    let info = dir.json(&["info", "run/final", "--json"]);
    assert_eq!((&info["type"], &info["labels"]), (&"CrossEncoder".into(), &1.into()));
    assert_eq!(dir.list("run/mined"), ["train.jsonl", "train.key.json"]);

    // A second run of the recipe reuses the mined rows and gives the same bits.
    let first = std::fs::read(dir.path("run/final/model.safetensors")).unwrap();
    let again = dir.succeed(&["train", "r.toml"]);
    assert!(again.stderr.contains("mined before"), "{}", again.stderr);
    assert!(again.stdout.contains("Trained model: run/final"), "{}", again.stdout);
    assert!(first == std::fs::read(dir.path("run/final/model.safetensors")).unwrap());
}

#[test]
fn a_run_that_would_resume_with_other_mined_rows_is_refused_and_keeps_its_own() {
    let dir = setup();
    dir.succeed(&["train", "r.toml", "--quiet"]);
    let mined = dir.read("run/mined/train.jsonl");
    let resume = ["train", "r.toml", "--quiet", "--resume=run/checkpoint-9"];
    let other = ["--set", "mining.num_negatives=1"];
    let error = dir.fail(1, &[&resume[..], &other].concat());
    assert!(error.contains("mining: expected what gives the rows in run/mined"), "{error}");
    assert_eq!(dir.read("run/mined/train.jsonl"), mined);
    assert_eq!(dir.list("run/mined"), ["train.jsonl", "train.key.json"]);
    // Files that were only touched give the same rows.
    dir.write("samples.jsonl", &dir.read("samples.jsonl"));
    dir.write("pairs.jsonl", &dir.read("pairs.jsonl"));
    dir.succeed(&resume);
    assert_eq!(dir.read("run/mined/train.jsonl"), mined);
}

#[test]
fn log_and_model_card_name_the_half_precision() {
    let dir = setup();
    let short = ["train", "r.toml", "--set", "arguments.num_train_epochs=1"];
    for precision in ["bf16", "fp16"] {
        let set = format!("arguments.{precision}=true");
        let done = dir.succeed(&[&short[..], &["--set", &set]].concat());
        let line = format!("matrix products: {precision} operands");
        assert!(done.stderr.contains(&line), "{}", done.stderr);
        let has_scale =
            done.stderr.contains("loss_scale 65536") && done.stderr.contains("skipped_steps 0");
        assert_eq!(has_scale, precision == "fp16", "{}", done.stderr);
        let card = dir.read("run/final/README.md");
        assert!(card.contains(&format!("- `{precision}`: true")), "{card}");
    }
    let checkpoint = dir.list("run/checkpoint-9");
    assert!(checkpoint.contains(&"scaler.json".to_owned()), "{checkpoint:?}");
}

#[test]
fn a_run_interrupted_by_ctrl_c_resumes_to_the_same_bits() {
    let dir = setup();
    // Long enough that Ctrl-C arrives before the end.
    let long = ["--set", "arguments.num_train_epochs=60", "--set", "arguments.save_steps=10000"];
    let train = |folder: &str, more: &[&str]| -> Vec<String> {
        let set = format!("arguments.output_dir={folder}");
        let start = ["train", "r.toml", "--set", set.as_str()];
        [&start[..], &long, more].concat().into_iter().map(str::to_owned).collect()
    };
    let interrupted = signal_after_first_log(&dir, &train("run", &[]), "INT");
    assert_eq!(interrupted.code, 130, "{}", interrupted.stderr);
    let hint = "hint: to resume, run: rankforge train r.toml --set arguments.output_dir=run \
                --set arguments.num_train_epochs=60 --set arguments.save_steps=10000 \
                --resume=run/checkpoint-";
    assert!(interrupted.stderr.contains(hint), "{}", interrupted.stderr);
    assert_eq!(interrupted.stdout, "");
    let names = dir.list("run");
    assert!(names.iter().any(|name| name.starts_with("checkpoint-")), "{names:?}");
    assert!(names.iter().all(|name| !name.contains("incomplete")), "{names:?}");
    assert!(!names.contains(&"final".to_owned()), "{names:?}");

    let run = |arguments: Vec<String>| {
        dir.succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    };
    run(train("run", &["--resume"]));
    run(train("whole", &[]));
    let model = |folder: &str| {
        std::fs::read(dir.path(&format!("{folder}/final/model.safetensors"))).unwrap()
    };
    assert!(model("whole") == model("run"), "the weights of the resumed run differ");
}

#[test]
fn labels_out_of_range_are_refused_before_the_first_step() {
    let dir = setup();
    dir.json_lines(
        "bad.jsonl",
        (0..40).map(|row| {
            let label = if row == 33 { 3 } else { row % 2 };
            serde_json::json!({ "query": format!("q {row}"), "answer": "a", "label": label })
        }),
    );
    dir.write(
        "bad.toml",
        "[model]\npath = \"bert\"\n[dataset]\npath = \"bad.jsonl\"\n\
         [arguments]\noutput_dir = \"bad\"\n",
    );
    let error = dir.fail(1, &["train", "bad.toml"]);
    let expected = "training data in bad.jsonl for BinaryCrossEntropyLoss, row 34, column `label`: \
                    expected a label from 0 to 1, got 3";
    assert!(error.contains(expected), "{error}");
    assert!(!dir.path("bad/final").exists());
}

#[test]
fn a_run_that_could_not_be_saved_is_refused_before_it_starts() {
    let dir = setup();
    std::fs::create_dir_all(dir.path("taken/final")).unwrap();
    dir.write("taken/final/notes.txt", "not a model");
    dir.write("file", "not a folder");
    let evaluator = "[[evaluators]]\ntype = \"CrossEncoderRerankingEvaluator\"\nbatch_size = 0";
    dir.write(
        "zero.toml",
        &RECIPE.replace("[[evaluators]]", evaluator).replacen(
            "type = \"CrossEncoderRerankingEvaluator\"\npath",
            "path",
            1,
        ),
    );
    let unmined = RECIPE.split("[mining]").next().unwrap();
    dir.labeled();
    let labeled = unmined
        .replace("pairs.jsonl", "labeled.jsonl")
        .replace(", \"answer\"]", ", \"answer\", \"label\"]");
    dir.write("unmined.toml", &format!("{labeled}[arguments]\noutput_dir = \"file/run\"\n"));
    for (recipe, set, expected) in [
        ("r.toml", "arguments.output_dir=taken", "taken/final"),
        ("unmined.toml", "arguments.save_strategy=no", "file/run"),
        ("zero.toml", "arguments.seed=1", "batch_size"),
    ] {
        let error = dir.fail(1, &["train", recipe, "--set", set, "--quiet"]);
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(dir.list("taken/final"), ["notes.txt"]);
    assert!(dir.list("taken").iter().all(|name| !name.starts_with("checkpoint")));
}

#[test]
fn pairs_alone_lead_to_the_recipe_of_an_hour() {
    let dir = setup();
    let error = dir.fail(1, &["train", "pairs.jsonl"]);
    assert!(error.contains("pairs.jsonl: expected a recipe (.toml), got a data set"), "{error}");
    let command = "rankforge train recipes/one-hour.toml --set dataset.path=pairs.jsonl";
    assert!(error.contains(command), "{error}");

    let start = RECIPE.find("[mining]").unwrap();
    let end = RECIPE.find("[loss]").unwrap();
    dir.write("r.toml", &format!("{}{}", &RECIPE[..start], &RECIPE[end..]));
    let error = dir.fail(1, &["train", "r.toml", "--quiet"]);
    assert!(error.contains("expected a label column"), "{error}");
    assert!(error.contains("hint: pairs of query and passage without labels"), "{error}");
}

#[test]
fn the_recipe_of_an_hour_trains_and_is_the_one_in_the_help() {
    let dir = setup();
    let help = dir.succeed(&["train", "--help"]).stdout;
    let shown = &help[help.find("  [model]").unwrap()..];
    let parsed = |text: &str| toml::from_str::<toml::Table>(text).unwrap();
    assert_eq!(parsed(shown), parsed(ONE_HOUR));

    let recipe = ONE_HOUR.replace("models/all-MiniLM-L6-v2", "bert").replace("data/pairs", "pairs");
    let at = recipe.find("\"bert\"         # a dual encoder").unwrap();
    let recipe = format!("{}\"static\"{}", &recipe[..at], &recipe[at + "\"bert\"".len()..]);
    dir.write("hour.toml", &recipe);
    let sets = ["arguments.max_steps=2", "mining.num_negatives=1", "loss.num_negatives=1"];
    let mut arguments = vec!["train", "hour.toml", "--json", "--quiet"];
    sets.iter().for_each(|set| arguments.extend(["--set", set]));
    arguments.extend(["--set", "arguments.per_device_train_batch_size=4"]);
    assert_eq!(dir.json(&arguments)["global_step"], 2);
}

#[test]
fn an_argument_that_the_run_refuses_is_named_with_its_place() {
    let dir = setup();
    let seed = "seed = 7\n";
    let line = RECIPE.split(seed).next().unwrap().lines().count() + 2;
    let metric = format!("{seed}metric_for_best_model = \"ndgc\"\n");
    dir.write("m.toml", &RECIPE.replace(seed, &metric));
    let field = "`arguments.metric_for_best_model`: expected one of the metrics";
    let error = dir.fail(1, &["train", "m.toml", "--quiet"]);
    assert!(error.contains(&format!("m.toml, line {line}: {field}")), "{error}");
    let set = "arguments.metric_for_best_model=tiny_ndgc@10";
    let error = dir.fail(1, &["train", "m.toml", "--set", set, "--quiet"]);
    assert!(error.contains(&format!("override {set}: {field}")), "{error}");
    assert!(error.contains("got tiny_ndgc@10; did you mean tiny_ndcg@10?"), "{error}");
}

#[test]
fn resuming_without_a_checkpoint_is_refused() {
    let dir = setup();
    let error = dir.fail(1, &["train", "r.toml", "--resume", "--quiet"]);
    assert!(error.contains("checkpoint"), "{error}");
    let error = dir.fail(1, &["train", "r.toml", "--resume=nowhere", "--quiet"]);
    assert!(error.contains("nowhere"), "{error}");
}
