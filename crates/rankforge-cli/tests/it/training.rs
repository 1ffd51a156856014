//! `rankforge train`: a whole run, an interrupted and resumed one, and data it refuses.

use crate::support::{Place, finished};
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

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

fn place() -> Place {
    let place = Place::new();
    place.encoder();
    place.dual_encoder();
    place.pairs();
    place.samples();
    place.write("r.toml", RECIPE);
    place
}

#[test]
fn a_recipe_trains_a_model_that_the_other_commands_open() {
    let place = place();
    let json = place.json(&["train", "r.toml", "--json", "--quiet"]);
    assert_eq!(json["global_step"], 18);
    assert!(json["evaluation"]["eval_tiny_ndcg@10"].is_f64(), "{json}");
    for file in ["config.json", "model.safetensors", "modules.json", "README.md"] {
        assert!(place.list("run/final").contains(&file.to_owned()), "{file}");
    }
    let info = place.json(&["info", "run/final", "--json"]);
    assert_eq!((&info["type"], &info["labels"]), (&"CrossEncoder".into(), &1.into()));
    assert_eq!(place.list("run/mined"), ["train.jsonl", "train.key.json"]);

    // The same recipe again gives the same bits, from mined rows that are used again.
    let first = std::fs::read(place.path("run/final/model.safetensors")).unwrap();
    let again = place.succeed(&["train", "r.toml"]);
    assert!(again.stderr.contains("mined before"), "{}", again.stderr);
    assert!(again.stdout.contains("The trained model: run/final"), "{}", again.stdout);
    assert!(first == std::fs::read(place.path("run/final/model.safetensors")).unwrap());
}

#[test]
fn a_run_in_half_precision_says_so_in_log_and_card() {
    let place = place();
    let short = ["train", "r.toml", "--set", "arguments.num_train_epochs=1"];
    for precision in ["bf16", "fp16"] {
        let set = format!("arguments.{precision}=true");
        let done = place.succeed(&[&short[..], &["--set", &set]].concat());
        let line = format!("matrix products: {precision} operands");
        assert!(done.stderr.contains(&line), "{}", done.stderr);
        let scale =
            done.stderr.contains("loss_scale 65536") && done.stderr.contains("skipped_steps 0");
        assert_eq!(scale, precision == "fp16", "{}", done.stderr);
        let card = place.read("run/final/README.md");
        assert!(card.contains(&format!("- `{precision}`: true")), "{card}");
    }
    let checkpoint = place.list("run/checkpoint-9");
    assert!(checkpoint.contains(&"scaler.json".to_owned()), "{checkpoint:?}");
}

#[test]
fn ctrl_c_leaves_a_checkpoint_that_resumes_to_the_same_bits() {
    let place = place();
    // Long enough to be interrupted before the end.
    let long = ["--set", "arguments.num_train_epochs=60", "--set", "arguments.save_steps=10000"];
    let train = |folder: &str, more: &[&str]| -> Vec<String> {
        let set = format!("arguments.output_dir={folder}");
        let start = ["train", "r.toml", "--set", set.as_str()];
        [&start[..], &long, more].concat().into_iter().map(str::to_owned).collect()
    };
    let interrupted = interrupt_after_first_log(&place, &train("run", &[]));
    assert_eq!(interrupted.code, 130, "{}", interrupted.stderr);
    let way_on = "rankforge train r.toml --set arguments.output_dir=run --set arguments.num_train_epochs=60 \
                  --set arguments.save_steps=10000 --resume goes on from there";
    assert!(interrupted.stderr.contains(way_on), "{}", interrupted.stderr);
    assert_eq!(interrupted.stdout, "");
    let names = place.list("run");
    assert!(names.iter().any(|name| name.starts_with("checkpoint-")), "{names:?}");
    assert!(names.iter().all(|name| !name.contains("incomplete")), "{names:?}");
    assert!(!names.contains(&"final".to_owned()), "{names:?}");

    let run = |arguments: Vec<String>| {
        place.succeed(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    };
    run(train("run", &["--resume"]));
    run(train("whole", &[]));
    let model = |folder: &str| {
        std::fs::read(place.path(&format!("{folder}/final/model.safetensors"))).unwrap()
    };
    assert!(model("whole") == model("run"), "the resumed run ended in other bits");
}

/// Runs a command and sends it SIGINT when it has logged a loss.
fn interrupt_after_first_log(place: &Place, arguments: &[String]) -> crate::support::Finished {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut command = place.command(&arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let logged = lines.by_ref().map(Result::unwrap).find(|line| line.contains("loss"));
    assert!(logged.is_some(), "the run ended without a log line");
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    let mut done = finished(child.wait_with_output().unwrap());
    done.stderr = rest.join("\n");
    done
}

#[test]
fn labels_out_of_range_stop_the_run_before_the_first_step() {
    let place = place();
    place.json_lines(
        "bad.jsonl",
        (0..40).map(|row| {
            let label = if row == 33 { 3 } else { row % 2 };
            serde_json::json!({ "query": format!("q {row}"), "answer": "a", "label": label })
        }),
    );
    place.write(
        "bad.toml",
        "[model]\npath = \"bert\"\n[dataset]\npath = \"bad.jsonl\"\n\
         [arguments]\noutput_dir = \"bad\"\n",
    );
    let error = place.fail(1, &["train", "bad.toml"]);
    assert!(error.contains("33") && error.contains('3'), "{error}");
    assert!(!place.path("bad/final").exists());
}

#[test]
fn what_would_lose_the_model_after_the_run_stops_it_before() {
    let place = place();
    std::fs::create_dir_all(place.path("taken/final")).unwrap();
    place.write("taken/final/notes.txt", "not a model");
    place.write("file", "not a folder");
    let evaluator = "[[evaluators]]\ntype = \"CrossEncoderRerankingEvaluator\"\nbatch_size = 0";
    place.write(
        "zero.toml",
        &RECIPE.replace("[[evaluators]]", evaluator).replacen(
            "type = \"CrossEncoderRerankingEvaluator\"\npath",
            "path",
            1,
        ),
    );
    let unmined = RECIPE.split("[mining]").next().unwrap();
    place.labeled();
    let labeled = unmined
        .replace("pairs.jsonl", "labeled.jsonl")
        .replace(", \"answer\"]", ", \"answer\", \"label\"]");
    place.write("unmined.toml", &format!("{labeled}[arguments]\noutput_dir = \"file/run\"\n"));
    for (recipe, set, expected) in [
        ("r.toml", "arguments.output_dir=taken", "taken/final"),
        ("unmined.toml", "arguments.save_strategy=no", "file/run"),
        ("zero.toml", "arguments.seed=1", "batch_size"),
    ] {
        let error = place.fail(1, &["train", recipe, "--set", set, "--quiet"]);
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(place.list("taken/final"), ["notes.txt"]);
    assert!(place.list("taken").iter().all(|name| !name.starts_with("checkpoint")));
}

#[test]
fn a_run_cannot_resume_without_a_checkpoint() {
    let place = place();
    let error = place.fail(1, &["train", "r.toml", "--resume", "--quiet"]);
    assert!(error.contains("checkpoint"), "{error}");
    let error = place.fail(1, &["train", "r.toml", "--resume=nowhere", "--quiet"]);
    assert!(error.contains("nowhere"), "{error}");
}
