//! `rankforge data`: data sets made of data sets.

use crate::support::TestDir;
use serde_json::{Value, json};

fn row(query: &str, score: f64, source: &str) -> Value {
    json!({ "query": query, "score": score, "source": source })
}

fn scored(dir: &TestDir) {
    let rows = [
        row("what is a kiln", 1.0, "pots"),
        row("what is a kiln", 1.0, "pots"),
        row("where is rome", 0.25, "maps"),
        row("who", 0.5, "pots"),
    ];
    dir.json_lines("rows.jsonl", rows.into_iter());
}

fn lines(dir: &TestDir, name: &str) -> Vec<Value> {
    dir.read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const ROWS: [&str; 3] = ["data", "--dataset", "rows.jsonl"];

/// `data STEP --dataset rows.jsonl` with further arguments.
fn step<'a>(step: &'a str, rest: &[&'a str]) -> Vec<&'a str> {
    [&[ROWS[0], step], &ROWS[1..], rest].concat()
}

#[test]
fn rows_are_converted_and_columns_chosen_and_renamed() {
    let dir = TestDir::new();
    dir.write("rows.csv", "id,text,score\n1,one,0.5\n2,,1\n");
    let arguments = ["data", "convert", "--dataset", "rows.csv", "--output", "rows.parquet"];
    let output = dir.succeed(&arguments).stdout;
    assert_eq!(output, "wrote 2 of 2 rows: rows.parquet\n");
    let back = [
        "data",
        "convert",
        "--dataset",
        "rows.parquet",
        "--columns",
        "score,text,id",
        "--rename",
        "text=query,id=key",
        "--output",
        "back.jsonl",
        "--json",
    ];
    assert_eq!(dir.json(&back), json!({ "output": "back.jsonl", "rows": 2, "read": 2 }));
    // The types that all cells of a column have.
    let expected = [
        json!({ "score": 0.5, "query": "one", "key": 1 }),
        json!({ "score": 1.0, "query": null, "key": 2 }),
    ];
    assert_eq!(lines(&dir, "back.jsonl"), expected);
    assert!(dir.read("back.jsonl").starts_with("{\"score\":"));

    let compressed = ["data", "convert", "--dataset", "back.jsonl", "--output", "back.csv.gz"];
    dir.succeed(&compressed);
    let info = dir.json(&["info", "back.csv.gz", "--json"]);
    assert_eq!(info["splits"][0]["rows"], 2, "{info}");
}

#[test]
fn some_rows_are_taken_filtered_and_kept_once() {
    let dir = TestDir::new();
    scored(&dir);
    dir.succeed(&step("take", &["--skip", "1", "--rows", "2", "--output", "two.jsonl"]));
    let queries = |name: &str| -> Vec<String> {
        lines(&dir, name).iter().map(|row| row["query"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(queries("two.jsonl"), ["what is a kiln", "where is rome"]);

    let conditions = ["--where", "score >= 0.5", "--where", "length(query) < 10"];
    let output = ["--output", "some.jsonl"];
    let result = dir.succeed(&step("filter", &[&conditions[..], &output].concat())).stdout;
    assert_eq!(result, "wrote 1 of 4 rows: some.jsonl\n");
    assert_eq!(queries("some.jsonl"), ["who"]);
    // No row is left, but the columns are.
    let none = ["--where", "source = hills", "--output", "none.csv"];
    dir.succeed(&step("filter", &none));
    assert_eq!(dir.read("none.csv"), "query,score,source\n");

    dir.succeed(&step("dedup", &["--output", "once.jsonl"]));
    assert_eq!(queries("once.jsonl"), ["what is a kiln", "where is rome", "who"]);
    dir.succeed(&step("dedup", &["--by", "source", "--output", "by.jsonl"]));
    assert_eq!(queries("by.jsonl"), ["what is a kiln", "where is rome"]);
}

#[test]
fn rows_are_shuffled_and_split_by_a_seed() {
    let dir = TestDir::new();
    dir.json_lines("rows.jsonl", (0..40).map(|n| json!({ "n": n })));
    let shuffled = |seed: &str, output: &str| {
        dir.succeed(&step("shuffle", &["--seed", seed, "--output", output]));
        dir.read(output)
    };
    assert_eq!(shuffled("1", "a.jsonl"), shuffled("1", "b.jsonl"));
    assert_ne!(shuffled("2", "c.jsonl"), dir.read("a.jsonl"));
    let arguments = ["--test-size", "0.25", "--format", "jsonl", "--output", "parts", "--json"];
    let parts = dir.json(&step("split", &arguments));
    assert_eq!(parts, json!({ "output": "parts", "train": 30, "test": 10 }));
    let mut all = [lines(&dir, "parts/train.jsonl"), lines(&dir, "parts/test.jsonl")].concat();
    all.sort_by_key(|row| row["n"].as_i64());
    assert_eq!(all, lines(&dir, "rows.jsonl"));
    let info = dir.json(&["info", "parts", "--json"]);
    assert_eq!(info["splits"].as_array().unwrap().len(), 2, "{info}");
}

#[test]
fn what_cannot_be_done_is_refused_and_leaves_nothing() {
    let dir = TestDir::new();
    scored(&dir);
    let refused = |arguments: &[&str], parts: &[&str]| {
        let error = dir.fail(1, arguments);
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} in {error}"));
    };
    let output = ["--output", "new.jsonl"];
    let with = |rest: &[&'static str]| [rest, &output].concat();
    refused(&step("filter", &with(&["--where", "scor > 1"])), &["`scor`", "did you mean `score`?"]);
    refused(&step("filter", &with(&["--where", "query > 1"])), &["`query`", "row 1"]);
    refused(&step("convert", &with(&["--rename", "a=b"])), &["`a`"]);
    refused(&step("dedup", &with(&["--by", "a"])), &["`a`"]);
    refused(&step("convert", &["--output", "rows.jsonl"]), &["rows.jsonl: the file exists"]);
    refused(&step("convert", &["--output", "new.xls"]), &["new.xls", "expected .jsonl"]);
    refused(&step("split", &["--test-size", "4", "--output", "parts"]), &["fewer than the 4 rows"]);
    refused(
        &step("split", &["--test-size", "1", "--format", "xls", "--output", "parts"]),
        &["parts/train.xls", "expected .jsonl"],
    );
    for usage in [&["--where", "score"][..], &["--where", "score > high"]] {
        let error = dir.fail(2, &step("filter", &[usage, &output].concat()));
        assert!(error.contains("expected "), "{error}");
    }
    assert_eq!(dir.list("."), ["rows.jsonl"]);
}

#[test]
fn a_collection_of_ms_marco_becomes_a_beir_folder() {
    let dir = TestDir::new();
    dir.write("collection.tsv", "0\ta \"kiln\" is an oven\n1\trome is in italy\n");
    dir.write("queries.tsv", "7\twhat is a kiln\n9\twhere is rome\n");
    dir.write("qrels.tsv", "7 0 0 1\n9 0 1 1\n");
    let arguments = [
        "data",
        "beir",
        "--no-header",
        "--corpus",
        "collection.tsv",
        "--queries",
        "queries.tsv",
        "--qrels",
        "qrels.tsv",
        "--output",
        "folder",
    ];
    let output = dir.succeed(&arguments).stdout;
    assert_eq!(output, "wrote 2 documents, 2 queries and 2 judgements: folder\n");
    let documents = lines(&dir, "folder/corpus.jsonl");
    assert_eq!(documents[0], json!({ "_id": "0", "text": "a \"kiln\" is an oven" }));
    assert_eq!(dir.read("folder/qrels/test.tsv").lines().nth(1), Some("7\t0\t1"));
    dir.dual_encoder();
    let metrics =
        dir.json(&["evaluate", "retrieval", "--model", "static", "--dataset", "folder", "--json"]);
    assert!(metrics.is_object(), "{metrics}");

    let error = dir.fail(1, &arguments);
    assert!(error.contains("folder: the file exists"), "{error}");
    dir.write("queries.tsv", "7\twhat is a kiln\textra\n");
    let again = [&arguments[..arguments.len() - 1], &["other"]].concat();
    let error = dir.fail(1, &again);
    assert!(error.contains("queries.tsv, line 1: expected 2 cells"), "{error}");
    assert!(!dir.path("other").exists());
    // Headers are read, and ids may be numbers.
    dir.json_lines("docs.jsonl", [json!({"n": 3, "head": "T", "body": "x"})].into_iter());
    dir.json_lines("asked.jsonl", [json!({"id": "a", "text": "y"})].into_iter());
    dir.write("judged.tsv", "a\t3\t1\n");
    dir.succeed(&[
        "data",
        "beir",
        "--corpus",
        "docs.jsonl",
        "--corpus-columns",
        "n,head,body",
        "--queries",
        "asked.jsonl",
        "--qrels",
        "judged.tsv",
        "--output",
        "titled",
    ]);
    let documents = lines(&dir, "titled/corpus.jsonl");
    assert_eq!(documents, [json!({ "_id": "3", "title": "T", "text": "x" })]);
}
