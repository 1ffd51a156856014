//! `rankforge evaluate cascade` on a tiny collection.

use crate::snapshot::{assert_json_snapshot, assert_snapshot, masked, without_numbers};
use crate::support::TestDir;
use rankforge::Workers;
use rankforge::encoder::{DualEncoder, EncodeOptions};
use rankforge_index::bm25::Language;
use rankforge_index::{BuildOptions, CorpusSource, Embedder, ModelEntry, build_index};

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

/// `docs.index` with vectors of `static` and BM25, and `words.index` with BM25 alone.
fn indexes(dir: &TestDir) {
    let model = DualEncoder::open(dir.path("static")).unwrap();
    let entry =
        ModelEntry { path: dir.path("static"), max_length: None, precision: "fp32".to_owned() };
    let options = EncodeOptions::default();
    let embedder = Embedder { encoder: &model, model: entry, options };
    let corpus = CorpusSource::new(dir.path("beir"));
    let options = BuildOptions {
        bm25: Some(Language::English),
        ..BuildOptions::new(Workers::new(Some(1)).unwrap())
    };
    build_index(&dir.path("docs.index"), &corpus, Some(&embedder), &options).unwrap();
    build_index(&dir.path("words.index"), &corpus, None, &options).unwrap();
}

#[test]
fn an_index_on_disk_finds_what_its_parts_find_in_memory() {
    let dir = setup();
    indexes(&dir);
    let more = ["--depth", "4", "--json", "--trec", "runs", "--report", "report.html"];
    let stages = "bm25,static,hybrid,docs.index,docs.index:bm25,docs.index:hybrid,words.index";
    let arguments = [&STAGES[..5], &[stages], &more].concat();
    let json = dir.json(&arguments);
    let metrics = |stage: usize| &json["stages"][stage]["metrics"];
    for (memory, disk) in [(1, 3), (0, 4), (2, 5), (0, 6)] {
        assert_eq!(metrics(memory), metrics(disk), "stages {memory} and {disk}");
    }
    assert_eq!(json["stages"][5]["name"], "docs.index-hybrid");
    assert_eq!(json["settings"]["first stage words.index"]["mode"], "bm25");
    let run = |name: &str| dir.read(&format!("runs/{name}.trec")).replace(name, "");
    assert_eq!(run("bm25"), run("words.index"));
    assert_eq!(run("hybrid"), run("docs.index-hybrid"));

    let refused = |stage: &str| dir.fail(1, &[&STAGES[..5], &[stage]].concat());
    let error = refused("words.index:dense");
    assert!(error.contains("words.index") && error.contains("no vectors"), "{error}");
    let corpus = dir.read("beir/corpus.jsonl");
    dir.write("beir/corpus.jsonl", &corpus.replace("\"d3\"", "\"other\""));
    let error = refused("words.index");
    assert!(error.contains("document d3 is not in the corpus"), "{error}");
    let more = "{\"_id\": \"d12\", \"text\": \"one more\"}\n";
    dir.write("beir/corpus.jsonl", &(corpus + more));
    let done = dir.succeed(&[&STAGES[..5], &["words.index"]].concat());
    assert!(done.stderr.contains("the index has 12 of 13 documents"), "{}", done.stderr);
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
