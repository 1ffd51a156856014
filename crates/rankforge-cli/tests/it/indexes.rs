//! `index`, `search` and `export-index`.

use crate::snapshot::{assert_json_snapshot, assert_snapshot, rounded, two_decimals};
use crate::support::{PAIRS, TestDir, finished};
use serde_json::{Value, json};
use std::process::Command;

/// A folder with `beir/`, `static/` and an index of both kinds, `i`.
fn indexed() -> TestDir {
    let dir = TestDir::new();
    dir.beir();
    dir.dual_encoder();
    dir.succeed(&["index", "--model", "static", "--bm25", "--dataset", "beir", "--output", "i"]);
    dir
}

/// The ids of the texts that each query finds.
fn found(dir: &TestDir, arguments: &[&str]) -> Vec<Vec<String>> {
    let arguments = [&["search", "--index", "i", "--json"], arguments].concat();
    let lines = dir.succeed(&arguments).stdout;
    let ids = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let results = line["results"].as_array().unwrap();
        results.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
    };
    lines.lines().map(ids).collect()
}

#[test]
fn results_as_table_and_json() {
    let dir = indexed();
    let table = ["search", "--index", "i", "--query", PAIRS[3].0, "--mode", "bm25", "--top-k", "3"];
    let text = dir.succeed(&table).stdout;
    assert_snapshot("search_text", &table, &two_decimals(&text));
    let json = [&table[..], &["--json"]].concat();
    assert_json_snapshot("search_json", &json, &rounded(&dir.json(&json)));
    dir.write("queries.txt", &format!("{}\n\n{}\n", PAIRS[0].0, PAIRS[11].0));
    let several =
        ["search", "--index", "i", "--queries", "queries.txt", "--mode", "bm25", "--top-k", "1"];
    let text = dir.succeed(&several).stdout;
    assert_snapshot("search_several_text", &several, &two_decimals(&text));
}

#[test]
fn every_mode_finds_the_text_with_the_words_of_the_query() {
    let dir = indexed();
    dir.reranker();
    for mode in ["dense", "bm25", "hybrid"] {
        // The text of a document: a random static model is nearest to it, too.
        let query = PAIRS[6].1;
        let found = found(&dir, &["--query", query, "--mode", mode, "--top-k", "12"]);
        assert_eq!(found[0][0], "d6", "{mode}");
    }
    let weighted = ["--query", PAIRS[6].1, "--mode", "hybrid", "--weights", "0.2,0.8"];
    assert_eq!(found(&dir, &weighted)[0][0], "d6");
    // A reranker orders the same texts otherwise.
    let plain = ["--queries", "beir", "--mode", "dense", "--top-k", "12"];
    let (before, after) = (
        found(&dir, &plain),
        found(&dir, &[&plain[..], &["--rerank", "reranker", "--depth", "12"]].concat()),
    );
    assert_eq!((before.len(), after.len()), (12, 12));
    assert_ne!(before, after);
    for (mut before, mut after) in before.into_iter().zip(after) {
        before.sort();
        after.sort();
        assert_eq!(before, after);
    }
}

#[test]
fn a_run_file_has_the_ids_of_queries_and_texts() {
    let dir = indexed();
    dir.succeed(&["search", "--index", "i", "--queries", "beir", "--top-k", "2", "--trec", "run"]);
    let run = dir.read("run");
    let lines: Vec<Vec<&str>> = run.lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(lines.len(), 24);
    assert_eq!((lines[0][0], lines[0][1], lines[0][3], lines[0][5]), ("q0", "Q0", "1", "dense"));
    assert!(lines.iter().all(|line| line.len() == 6 && line[2].starts_with('d')));
}

#[test]
fn texts_are_appended_and_deleted() {
    let dir = indexed();
    dir.json_lines(
        "more.jsonl",
        [json!({ "id": 77, "text": "Walruses whistle underwater.", "from": "zoo" })].into_iter(),
    );
    dir.succeed(&["index", "--append", "--dataset", "more.jsonl", "--output", "i"]);
    let query = ["--query", "walruses whistle underwater"];
    for mode in ["dense", "bm25"] {
        assert_eq!(found(&dir, &[&query[..], &["--mode", mode]].concat())[0][0], "77");
    }
    dir.write("ids.txt", "77\nd3\n");
    let deleted = dir.json(&["index", "--output", "i", "--delete-from", "ids.txt", "--json"]);
    assert_eq!(deleted["deleted"], 2);
    dir.succeed(&["index", "--output", "i", "--delete", "d1,d2"]);
    let found = found(&dir, &[&query[..], &["--top-k", "20"]].concat());
    assert_eq!(found[0].len(), 9);
    assert!(!found[0].iter().any(|id| ["77", "d1", "d2", "d3"].contains(&&**id)));
    dir.succeed(&["index", "--output", "i", "--verify"]);
    let stderr = dir.fail(1, &["index", "--output", "i", "--delete", "d1"]);
    assert!(stderr.contains("no text has the id \"d1\""), "{stderr}");
}

#[test]
fn another_model_is_refused() {
    let dir = indexed();
    std::fs::rename(dir.path("static"), dir.path("moved")).unwrap();
    let stderr = dir.fail(1, &["search", "--index", "i", "--query", "owls"]);
    assert!(stderr.contains("static"), "{stderr}");
    dir.succeed(&["search", "--index", "i", "--query", "owls", "--model", "moved"]);
    let path = dir.path("moved/config_sentence_transformers.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["prompts"] = json!({ "query": "find: " });
    std::fs::write(&path, config.to_string()).unwrap();
    let stderr = dir.fail(1, &["search", "--index", "i", "--query", "owls", "--model", "moved"]);
    assert!(stderr.contains("made by another model: expected the fingerprint"), "{stderr}");
    assert!(stderr.contains("hint: search with the model"), "{stderr}");
    dir.succeed(&["search", "--index", "i", "--query", "owls", "--mode", "bm25"]);
}

#[test]
fn flags_that_would_have_no_effect_are_refused() {
    let dir = indexed();
    let search = |more: &[&str]| {
        let base = ["search", "--index", "i", "--query", "owls"];
        dir.fail(2, &[&base, more].concat())
    };
    assert!(search(&["--weights", "1,2"]).contains("need --mode hybrid"));
    assert!(search(&["--mode", "bm25", "--prompt", "x"]).contains("no effect on --mode bm25"));
    assert!(search(&["--precision", "bf16"]).contains("needs --rerank"));
    assert!(search(&["--depth", "3"]).contains("--rerank"));
    assert!(search(&["--rerank", "r", "--depth", "3"]).contains("at least --top-k, 10, got 3"));
    let stderr = dir.fail(2, &["search", "--index", "i"]);
    assert!(stderr.contains("expected --query or --queries"), "{stderr}");
    let index = |more: &[&str]| dir.fail(2, &[&["index", "--output", "j"], more].concat());
    assert!(index(&["--dataset", "beir"]).contains("expected --model, --bm25, or both"));
    assert!(index(&[]).contains("--dataset"));
    assert!(index(&["--delete", "a", "--bm25"]).contains("cannot be used with"));
    assert!(index(&["--verify", "--max-length", "9"]).contains("cannot be used with"));
    assert!(index(&["--append", "--dataset", "beir", "--bm25"]).contains("cannot be used with"));
    let words = index(&["--dataset", "beir", "--bm25", "--prompt", "x"]);
    assert!(words.contains("no effect without --model"), "{words}");
    let store = index(&["--dataset", "beir", "--bm25", "--store", "int8"]);
    assert!(store.contains("--model"), "{store}");
    assert!(!dir.path("j").exists());
}

#[test]
fn what_an_index_lacks_is_said() {
    let dir = TestDir::new();
    dir.beir();
    dir.succeed(&["index", "--bm25", "--dataset", "beir", "--output", "i"]);
    assert_eq!(found(&dir, &["--query", "polar bears"])[0], ["d5"]);
    let stderr = dir.fail(1, &["search", "--index", "i", "--query", "x", "--mode", "hybrid"]);
    assert!(stderr.contains("the index has no vectors"), "{stderr}");
    assert!(stderr.contains("hint: build the index with a model"), "{stderr}");
    let nothing = dir.succeed(&["search", "--index", "i", "--query", "zzz"]).stdout;
    assert_eq!(nothing, "nothing was found\n");
}

#[test]
fn compacting_removes_deleted_texts_for_good() {
    let dir = indexed();
    let compact = ["index", "--output", "i", "--compact"];
    assert!(dir.succeed(&compact).stdout.starts_with("removed 0 texts, 0 bytes; 12 can be"));
    dir.succeed(&["index", "--output", "i", "--delete", "d0,d3"]);
    let before = found(&dir, &["--query", "polar bears", "--top-k", "20"]);
    let report = dir.json(&[&compact[..], &["--json"]].concat());
    assert_eq!((&report["removed"], &report["rows"]), (&json!(2), &json!(10)));
    assert!(report["bytes"].as_u64().unwrap() > 0, "{report}");
    assert_eq!(found(&dir, &["--query", "polar bears", "--top-k", "20"]), before);
    assert_eq!(dir.read("i/rows.jsonl").lines().count(), 10);
    dir.succeed(&["index", "--output", "i", "--verify"]);
    assert!(dir.fail(2, &[&compact[..], &["--bm25"]].concat()).contains("cannot be used with"));
}

#[test]
fn exports_have_all_rows_that_are_not_deleted() {
    let dir = indexed();
    dir.succeed(&["index", "--output", "i", "--delete", "d0"]);
    dir.succeed(&["export-index", "--index", "i", "--format", "npy", "--output", "out"]);
    assert_eq!(dir.list("out"), ["rows.jsonl", "vectors.npy"]);
    let rows = dir.read("out/rows.jsonl");
    assert_eq!(rows.lines().count(), 11);
    assert!(rows.starts_with("{\"_id\":\"d1\""), "{rows}");
    let matrix = std::fs::read(dir.path("out/vectors.npy")).unwrap();
    assert_eq!(matrix.len(), 128 + 11 * 16 * 4);
    assert!(String::from_utf8_lossy(&matrix[..128]).contains("'shape': (11, 16)"));
    let stored = std::fs::read(dir.path("i/vectors.f32")).unwrap();
    assert_eq!(matrix[128..], stored[16 * 4..]);

    let parquet = ["--format", "parquet", "--output", "o.parquet"];
    dir.succeed(&[&["export-index", "--index", "i"], &parquet[..]].concat());
    let info = dir.json(&["info", "o.parquet", "--json"]);
    let columns = info["splits"][0]["columns"].as_object().unwrap();
    let columns: Vec<&str> = columns.keys().map(String::as_str).collect();
    assert_eq!(columns, ["id", "text", "metadata", "vector"]);
}

/// A file that cannot grow, as on a full disk: the error is told, what was complete stays, and the
/// same command continues.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_cannot_write_is_continued_once_it_can() {
    let dir = TestDir::new();
    dir.dual_encoder();
    let texts = |first: usize, end: usize| {
        (first..end).map(|row| json!({ "id": row, "text": PAIRS[row % PAIRS.len()].1.repeat(9) }))
    };
    dir.json_lines("a.jsonl", texts(0, 100));
    dir.json_lines("b.jsonl", texts(100, 1000));
    dir.succeed(&["index", "--model", "static", "--dataset", "a.jsonl", "--output", "i"]);
    let append = ["index", "--append", "--dataset", "b.jsonl", "--output", "i"];
    let binary = dir.command(&append);
    let mut limited = Command::new("sh");
    // Ignored, so that a write fails where the signal would end the process.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 200; exec \"$@\"", "sh"]);
    limited.arg(binary.get_program()).args(binary.get_args());
    let done = finished(limited.current_dir(dir.path("")).output().unwrap());
    assert_eq!(done.code, 1, "{}", done.stderr);
    assert!(done.stderr.contains("rows.jsonl: "), "{}", done.stderr);
    dir.succeed(&["index", "--output", "i", "--verify"]);
    assert_eq!(found(&dir, &["--query", "bees", "--top-k", "2000"])[0].len(), 100);
    let report = dir.json(&[&append[..], &["--json"]].concat());
    assert_eq!(report["rows"], 1000);
    assert_eq!(found(&dir, &["--query", "bees", "--top-k", "2000"])[0].len(), 1000);
}
