//! The results of every command on tiny models and data sets, as snapshots: as text and as JSON.

use crate::snapshot::{
    assert_json_snapshot, assert_snapshot, masked, no_decimals, rounded, two_decimals,
    without_numbers, without_progress,
};
use crate::support::{TestDir, finished};
use crate::training;
use serde_json::{Value, json};
use std::process::Command;

/// The arguments with more appended.
fn with<'a>(arguments: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
    [arguments, more].concat()
}

/// The command on the instruction set that every machine has.
fn scalar(dir: &TestDir, arguments: &[&str]) -> Command {
    let mut command = dir.command(arguments);
    command.env("RANKFORGE_ISA", "scalar");
    command
}

/// Snapshots of a command's text with two decimals and of its JSON, rounded to two decimals.
fn assert_text_and_json(dir: &TestDir, name: &str, arguments: &[&str]) {
    let text = dir.succeed(arguments).stdout;
    assert_snapshot(&format!("{name}_text"), arguments, &two_decimals(&text));
    let arguments = with(arguments, &["--json"]);
    assert_json_snapshot(&format!("{name}_json"), &arguments, &rounded(&dir.json(&arguments)));
}

#[test]
fn mine() {
    let dir = TestDir::new();
    dir.pairs();
    dir.dual_encoder();
    let arguments = [
        "mine",
        "--dataset",
        "pairs.jsonl",
        "--model",
        "static",
        "--num-negatives",
        "2",
        "--output-format",
        "labeled-pair",
        "--output",
        "mined.jsonl",
    ];
    assert_text_and_json(&dir, "mine", &arguments);
    assert_snapshot("mine_rows", &arguments, &dir.read("mined.jsonl"));
}

#[test]
fn train() {
    let dir = training::setup();
    let arguments = ["train", "r.toml"];
    // The log names the instruction set.
    let done = finished(scalar(&dir, &arguments).output().unwrap());
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_snapshot("train_text", &arguments, &masked(&done.stdout));
    assert_snapshot("train_log", &arguments, &masked(&without_progress(&done.stderr)));
    let arguments = ["train", "r.toml", "--json"];
    assert_json_snapshot("train_json", &arguments, &without_numbers(&dir.json(&arguments)));
    info_on(&dir, "info_reranker", &["info", "run/final"]);
}

#[test]
fn evaluate() {
    let dir = TestDir::new();
    dir.reranker();
    dir.dual_encoder();
    dir.labeled();
    dir.samples();
    dir.beir();
    let correlation =
        ["evaluate", "correlation", "--model", "reranker", "--dataset", "labeled.jsonl"];
    let correlation = with(&correlation, &["--name", "tiny"]);
    assert_text_and_json(&dir, "evaluate_correlation", &correlation);
    let reranking = ["evaluate", "reranking", "--model", "reranker", "--dataset"];
    assert_text_and_json(&dir, "evaluate_samples", &with(&reranking, &["samples.jsonl"]));
    let beir = ["beir", "--first-stage", "static", "--depth", "5"];
    assert_text_and_json(&dir, "evaluate_beir", &with(&reranking, &beir));
    let retrieval = ["evaluate", "retrieval", "--model", "static", "--dataset", "beir"];
    let flags = ["--truncate-dim", "16,8", "--name", "tiny"];
    assert_text_and_json(&dir, "evaluate_retrieval", &with(&retrieval, &flags));
}

#[test]
fn predict() {
    let dir = TestDir::new();
    dir.reranker();
    dir.pairs();
    let arguments = ["predict", "--model", "reranker", "--input", "pairs.jsonl", "--limit", "3"];
    let lines = dir.succeed(&arguments).stdout;
    let rows: Vec<String> = lines
        .lines()
        .map(|line| rounded(&serde_json::from_str(line).unwrap()).to_string())
        .collect();
    assert_snapshot("predict_rows", &arguments, &rows.join("\n"));
    assert_text_and_json(&dir, "predict", &with(&arguments, &["--output", "scores.jsonl"]));
}

#[test]
fn rank() {
    let dir = TestDir::new();
    dir.reranker();
    dir.pairs();
    let arguments = ["rank", "--model", "reranker", "--query", "what do bees make", "--documents"];
    let arguments = with(&arguments, &["pairs.jsonl", "--column", "answer", "--top-k", "3"]);
    assert_text_and_json(&dir, "rank", &arguments);
}

#[test]
fn encode() {
    let dir = TestDir::new();
    dir.dual_encoder();
    dir.pairs();
    let arguments = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column", "query"];
    assert_text_and_json(&dir, "encode", &with(&arguments, &["--output", "queries.npy"]));
}

#[test]
fn info() {
    let dir = TestDir::new();
    dir.dual_encoder();
    dir.pairs();
    info_on(&dir, "info_static", &["info", "static"]);
    info_on(&dir, "info_dataset", &["info", "pairs.jsonl"]);
}

/// Snapshots of `info`, whose description of a model includes the instruction set.
fn info_on(dir: &TestDir, name: &str, arguments: &[&str]) {
    let stdout = |arguments: &[&str]| finished(scalar(dir, arguments).output().unwrap()).stdout;
    assert_snapshot(&format!("{name}_text"), arguments, &stdout(arguments));
    let arguments = with(arguments, &["--json"]);
    assert_snapshot(&format!("{name}_json"), &arguments, &stdout(&arguments));
}

/// A small part of the training and of the evaluation: an unoptimised build takes minutes for all
/// of it.
const QUICKSTART: [&str; 7] =
    ["quickstart", "--output", "q", "--num-train-epochs", "0.05", "--depth", "3"];

#[test]
fn quickstart_as_text() {
    let dir = TestDir::new();
    let done = dir.succeed(&QUICKSTART);
    assert_snapshot("quickstart_stages", &QUICKSTART, &stages(&without_progress(&done.stderr)));
    assert_snapshot("quickstart_text", &QUICKSTART, &without_passages(&done.stdout));

    assert!(dir.read("q/reranker/README.md").contains("Quickstart reranker"));
    let rank = ["rank", "--model", "q/reranker", "--documents", "q/held-out/corpus.jsonl"];
    let ranked = dir.json(&with(&rank, &["--query", "What do bees make?", "--json"]));
    assert_eq!(ranked.as_array().unwrap().len(), 10);
    let info = dir.json(&["info", "q/first-stage", "--json"]);
    assert_eq!(info["architecture"], "static embeddings");
}

#[test]
fn quickstart_as_json() {
    let arguments = with(&QUICKSTART, &["--json"]);
    let mut result = without_numbers(&TestDir::new().json(&arguments));
    // The passages that a hardly trained reranker ranks highest differ between instruction sets.
    let passages = result["sample"]["passages"].as_array_mut().unwrap();
    passages.iter_mut().for_each(|passage| {
        passage["answers"] = json!("[boolean]");
        passage["text"] = Value::from("[text]");
    });
    assert_json_snapshot("quickstart_json", &arguments, &result);
}

/// The lines of the stages, with `#` for the seconds and the metrics.
fn stages(stderr: &str) -> String {
    let lines = stderr.lines().map(|line| match line.split_once(", ") {
        Some((stage, rest)) if line.starts_with('[') => {
            let text = rest.split_once(']').map_or(rest, |(_, text)| text);
            format!("{stage}, # s]{}\n", no_decimals(text))
        }
        _ => format!("{line}\n"),
    });
    lines.collect()
}

/// The result with `#` for the seconds and the metrics, and without the passages of the sample,
/// which differ between instruction sets as the metrics do.
fn without_passages(stdout: &str) -> String {
    let mut text = String::new();
    let mut in_sample = false;
    for line in stdout.lines() {
        in_sample &= !line.is_empty();
        if !in_sample {
            match line.split_once(" held-out questions, ") {
                Some((count, _)) => text.push_str(&format!("{count} held-out questions, # s\n")),
                None => text.push_str(&format!("{}\n", no_decimals(line))),
            }
        }
        if line.starts_with("rank ") {
            in_sample = true;
            text.push_str("[passages]\n");
        }
    }
    text
}
