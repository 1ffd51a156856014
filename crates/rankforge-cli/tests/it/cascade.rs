//! `rankforge evaluate cascade` on a tiny collection.

use crate::snapshot::{assert_json_snapshot, assert_snapshot, masked, without_numbers};
use crate::support::TestDir;

const STAGES: [&str; 6] =
    ["evaluate", "cascade", "--dataset", "beir", "--first-stage", "bm25,static,hybrid"];

fn setup() -> TestDir {
    let dir = TestDir::new();
    dir.reranker();
    dir.dual_encoder();
    dir.beir();
    dir
}

#[test]
fn the_stages_of_a_cascade_are_measured_and_written() {
    let dir = setup();
    let rerank = ["--rerank", "reranker", "--depth", "2,5", "--resamples", "100"];
    let files = ["--trec", "runs", "--report", "report.html", "--name", "tiny"];
    let arguments = [&STAGES[..], &rerank, &files].concat();
    let done = dir.succeed(&arguments);
    assert_snapshot("evaluate_cascade_text", &arguments, &masked(&done.stdout));
    let names = ["bm25", "static", "hybrid"]
        .map(|first| ["+rerank@2", "+rerank@5", ""].map(|rerank| format!("{first}{rerank}.trec")));
    let mut names = names.concat();
    names.sort();
    assert_eq!(dir.list("runs"), names);
    let run = dir.read("runs/hybrid+rerank@2.trec");
    assert!(run.lines().all(|line| line.split(' ').count() == 6), "{run}");
    let page = dir.read("report.html");
    assert!(page.contains("<h1>Cascade on tiny</h1>"), "{page}");

    let arguments = [&arguments[..], &["--json"]].concat();
    let json = dir.json(&arguments);
    assert_json_snapshot("evaluate_cascade_json", &arguments, &without_numbers(&json));
    let stages = json["stages"].as_array().unwrap();
    for stage in stages {
        let time = &stage["seconds_per_query"];
        assert!(time["p50"].as_f64().unwrap() > 0.0, "{stage}");
    }
    let mean = |stage: usize| stages[stage]["seconds_per_query"]["mean"].as_f64().unwrap();
    assert!(mean(0) < mean(1) && mean(1) < mean(2), "deeper reranking takes longer: {json}");
}

#[test]
fn first_stages_can_be_compared_without_a_reranker() {
    let dir = setup();
    let json = dir.json(&[&STAGES[..], &["--depth", "3", "--limit", "2", "--json"]].concat());
    assert_eq!(json["stages"].as_array().unwrap().len(), 3);
    assert_eq!(json["queries"], 2);
    assert_eq!(json["changes"], serde_json::json!([]));
    let alone = ["--model", "static", "--depth", "3", "--limit", "2", "--json"];
    let hybrid = [&STAGES[..5], &["hybrid"], &alone].concat();
    assert_eq!(dir.json(&hybrid)["stages"][0]["metrics"], json["stages"][2]["metrics"]);
}

#[test]
fn flags_without_effect_and_missing_files_are_refused_before_the_work() {
    let dir = setup();
    let refused = |code, more: &[&str]| dir.fail(code, &[&STAGES[..], more].concat());
    for (more, part) in [
        (&["--depth", "5,2,5"][..], "5 is given twice"),
        (&["--depth", "0"], "at least 1"),
        (&["--output", "csv"], "--output"),
        (&["--max-length", "64"], "--max-length: no effect"),
        (&["--batch-size", "8"], "--batch-size: no effect"),
        (&["--activation-fn", "tanh"], "--activation-fn: no effect"),
        (&["--rrf-k=-1"], "at least 0"),
    ] {
        let error = refused(2, more);
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let error = refused(1, &["--report", "nowhere/report.html"]);
    assert!(error.contains("nowhere"), "{error}");
    let error = refused(1, &["--rerank", "static"]);
    assert!(error.contains("static"), "{error}");
    let error = refused(1, &["--split", "dev"]);
    assert!(error.contains("dev.tsv"), "{error}");
    let error = dir.fail(1, &[&STAGES[..5], &["bm25,no-model"]].concat());
    assert!(error.contains("--first-stage") && error.contains("no-model"), "{error}");
    dir.write("beir/corpus.jsonl", "{\"_id\": \"a b\", \"text\": \"honey\"}\n");
    let error = refused(1, &["--trec", "runs"]);
    assert!(error.contains("white space") && error.contains("a b"), "{error}");
}
