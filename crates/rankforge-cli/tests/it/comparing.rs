//! `rankforge compare`: runs side by side, and folders that are no runs.

use crate::training::setup;
use serde_json::json;

#[test]
fn runs_are_compared_by_metrics_speed_and_what_is_another_in_them() {
    let dir = setup();
    dir.succeed(&["train", "r.toml", "--quiet"]);
    let sets = ["learning_rate=2e-3", "run_name=faster", "output_dir=second"];
    let sets = sets.map(|set| format!("arguments.{set}"));
    let sets = sets.iter().flat_map(|set| ["--set", set]);
    let second: Vec<&str> = ["train", "r.toml", "--quiet"].into_iter().chain(sets).collect();
    dir.succeed(&second);

    let json = dir.json(&["compare", "run", "second", "--json"]);
    let names = [&json["runs"][0]["name"], &json["runs"][1]["name"]];
    assert_eq!(names, [&json!("run"), &json!("faster")]);
    assert_eq!(json["different_fields"], json!({"arguments.learning_rate": [1e-3, 2e-3]}));
    assert_eq!(json["different_origin"], json!({}));
    for run in json["runs"].as_array().unwrap() {
        assert_eq!((&run["step"], &run["model_step"]), (&json!(18), &json!(18)));
        for metric in ["eval_tiny_ndcg@10", "train_loss"] {
            assert!(run["metrics"][metric].is_f64(), "{metric}: {run}");
        }
        assert!(run["speed"]["samples_per_second"].as_f64().unwrap() > 0.0, "{run}");
        assert_eq!(run["origin"]["training data"].as_str().unwrap().len(), 64, "{run}");
    }

    let done = dir.succeed(&["compare", "run", "second", "--report", "runs.html"]);
    for row in ["figure", "eval_tiny_ndcg@10", "speed and memory", "arguments.learning_rate"] {
        assert!(done.stdout.lines().any(|line| line.starts_with(row)), "{row}: {}", done.stdout);
    }
    let page = dir.read("runs.html");
    for part in ["<figcaption>Training loss</figcaption>", "tiny_ndcg@10", "faster", "<td class"] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
    assert!(!page.contains("<script") && !page.contains("href="), "{page}");
}

#[test]
fn a_folder_that_is_no_run_and_a_run_given_twice_are_refused() {
    let dir = setup();
    dir.succeed(&["train", "r.toml", "--quiet", "--set", "arguments.max_steps=1"]);
    let refused = |code, arguments: &[&str]| dir.fail(code, &[&["compare"], arguments].concat());
    let error = refused(1, &["run", "bert"]);
    assert!(error.contains("bert: expected the folder of a run (arguments.output_dir)"), "{error}");
    let error = refused(1, &["run", "missing"]);
    assert!(error.contains("missing"), "{error}");
    let error = refused(1, &["run", "./run"]);
    assert!(error.contains("expected each folder once"), "{error}");
    refused(2, &["run"]);
}
