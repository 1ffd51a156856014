//! Data sets as users have them: without rows, with numbers as texts, with values that no command
//! reads, with keys that come late, and BEIR collections that are not quite complete.

use crate::support::{PAIRS, TestDir};
use serde_json::Value;
use std::path::Path;

#[test]
fn no_rows_give_an_output_without_rows() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.write("none.jsonl", "");
    dir.write("none.csv", "query,answer\n");
    let predict = ["predict", "--model", "bert", "--input"];
    for (input, more, output) in [
        ("none.csv", &[][..], "a.csv"),
        ("none.csv", &["--columns", "answer,query"], "b.csv"),
        ("none.jsonl", &["--columns", "query,answer"], "c.csv"),
        ("none.csv", &[], "d.parquet"),
        ("none.jsonl", &[], "e.jsonl"),
    ] {
        let done = dir.json(&[&predict[..], &[input, "--json", "--output", output], more].concat());
        assert_eq!(done["rows"], 0, "{output}");
    }
    assert_eq!(dir.read("a.csv"), "query,answer,score\n");
    assert_eq!(dir.read("b.csv"), "answer,query,score\n");
    assert_eq!(dir.read("c.csv"), "query,answer,score\n");
    assert_eq!(dir.read("e.jsonl"), "");
    let columns = dir.json(&["info", "d.parquet", "--json"]);
    let columns = columns["splits"][0]["columns"].as_object().unwrap();
    assert!(columns.keys().eq(["query", "answer", "score"]), "{columns:?}");
    assert_eq!(dir.succeed(&[&predict[..], &["none.jsonl"]].concat()).stdout, "");
    let error = dir.fail(1, &[&predict[..], &["none.jsonl", "--output", "f.csv"]].concat());
    assert!(error.contains("f.csv: the input has no rows and names no columns"), "{error}");

    let encode = ["encode", "--model", "static", "--input", "none.csv", "--column", "query"];
    let truncate = ["--truncate-dim", "5", "--normalize-embeddings"];
    for (more, columns) in [(&[][..], 16), (&truncate, 5)] {
        let json = dir.json(&[&encode[..], &["--output", "a.npy", "--json"], more].concat());
        assert_eq!((&json["rows"], &json["columns"]), (&0.into(), &columns.into()));
        let bytes = std::fs::read(dir.path("a.npy")).unwrap();
        let header = String::from_utf8_lossy(&bytes).into_owned();
        assert!(header.contains(&format!("'shape': (0, {columns})")), "{header}");
    }
}

#[test]
fn commands_that_need_rows_say_so() {
    let dir = TestDir::new();
    dir.encoder();
    dir.add_head("bert");
    dir.dual_encoder();
    dir.write("none.csv", "query,answer,label\n");
    let expected = "error: none.csv: expected at least one row, got none\n";
    for arguments in [
        &["mine", "--model", "static", "--output", "m.csv", "--dataset", "none.csv"][..],
        &["rank", "--model", "bert", "--query", "q", "--documents", "none.csv"],
        &["evaluate", "correlation", "--model", "bert", "--dataset", "none.csv"],
        &["evaluate", "reranking", "--model", "bert", "--dataset", "none.csv"],
    ] {
        assert_eq!(dir.fail(1, arguments), expected, "{arguments:?}");
    }
    dir.write("r.toml", "[model]\npath = \"bert\"\n[dataset]\npath = \"none.csv\"\n");
    let error = dir.fail(1, &["train", "r.toml"]);
    assert!(error.contains("none.csv: expected at least one row, got none"), "{error}");
}

#[test]
fn numbers_and_empty_texts_in_csv_are_texts_where_texts_are_wanted() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.write("pairs.csv", "query,answer\n1984,bees make honey\n2001,\n007,iron rusts\n");
    let mine = ["mine", "--model", "static", "--num-negatives", "1", "--dataset"];
    let pairs = ["--output-format", "labeled-pair", "--output"];
    for name in ["mined.csv", "mined.tsv", "mined.jsonl", "mined.parquet"] {
        dir.succeed(&[&mine[..], &["pairs.csv"], &pairs, &[name]].concat());
        // What was written is read by every command, as texts and as labels.
        dir.succeed(&[&mine[..], &[name, "--output", "again.csv"]].concat());
        let predict = ["predict", "--model", "bert", "--input", name, "--columns", "query,answer"];
        let rows = dir.succeed(&predict).stdout;
        assert!(rows.contains(r#""query":"2001","answer":"""#), "{name}: {rows}");
        let columns = ["--columns", "query,answer,label", "--json"];
        let evaluate = ["evaluate", "correlation", "--model", "bert", "--dataset", name];
        dir.json(&[&evaluate[..], &columns].concat());
    }
    // Training reads them as `mine` wrote them.
    let recipe = "[model]\npath = \"bert\"\n[dataset]\npath = \"mined.csv\"\n[arguments]\n\
                  output_dir = \"run\"\nmax_steps = 1\nper_device_train_batch_size = 2\n";
    dir.write("r.toml", recipe);
    dir.succeed(&["train", "r.toml"]);
    let card = dir.read("run/final/README.md");
    assert!(card.contains("| type | string | string | int |"), "{card}");
    let info = dir.json(&["info", "mined.csv", "--json"]);
    let columns = &info["splits"][0]["columns"];
    assert_eq!(columns["query"]["kind"], "text", "007 is no number");
    assert_eq!(columns["label"]["kind"], "integer");
    assert_eq!(columns["label"]["max"], 1.0);
}

#[test]
fn mining_that_finds_nothing_writes_a_file_that_can_be_read() {
    let dir = TestDir::new();
    dir.pairs();
    dir.dual_encoder();
    let mine = ["mine", "--model", "static", "--dataset", "pairs.jsonl", "--max-score", "-2"];
    for name in ["m.csv", "m.parquet", "m.jsonl"] {
        let json = dir.json(&[&mine[..], &["--json", "--output", name]].concat());
        assert_eq!(json["rows"], 0, "{name}");
        let info = dir.json(&["info", name, "--json"]);
        assert_eq!(info["splits"][0]["rows"], 0, "{name}");
    }
    assert_eq!(dir.read("m.csv"), "query,answer,negative\n");
}

#[test]
fn a_column_that_nobody_chose_may_hold_anything() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    let documents: String = PAIRS
        .iter()
        .map(|(_, answer)| {
            format!("{{\"_id\": \"d\", \"metadata\": {{}}, \"text\": \"{answer}\"}}\n")
        })
        .collect();
    dir.write("corpus.jsonl", &documents);
    let rank = ["rank", "--model", "bert", "--query", "q", "--documents", "corpus.jsonl"];
    for column in [&["--column", "text"][..], &[]] {
        dir.succeed(&[&rank[..], column].concat());
    }
    let mine = ["mine", "--model", "static", "--dataset", "pairs.jsonl", "--output", "m.jsonl"];
    for column in [&["--corpus-column", "text"][..], &[]] {
        dir.succeed(&[&mine[..], &["--corpus", "corpus.jsonl"], column].concat());
    }
    let error = dir.fail(1, &[&rank[..], &["--column", "metadata"]].concat());
    let expected = "error: corpus.jsonl, row 1, column `metadata`: expected text, got a value of \
                    type object\n";
    assert_eq!(error, expected);
    let table = dir.succeed(&["info", "corpus.jsonl"]).stdout;
    assert!(table.contains("object (not readable)"), "{table}");
    let info = dir.json(&["info", "corpus.jsonl", "--json"]);
    let columns = &info["splits"][0]["columns"];
    assert_eq!(columns["metadata"]["readable"], false);
    assert_eq!(columns["text"]["kind"], "text");

    let kinds = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../rankforge-data/tests/fixtures/kinds.parquet");
    let info = dir.json(&["info", kinds.to_str().unwrap(), "--json"]);
    let columns = &info["splits"][0]["columns"];
    assert_eq!(columns["when"]["kind"], "timestamp");
    assert_eq!(columns["when"]["readable"], false);
    assert_eq!(
        (&columns["int8"]["kind"], &columns["int8"]["missing"]),
        (&"integer".into(), &1.into())
    );
}

#[test]
fn a_key_that_the_first_row_lacks_is_a_column() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.write("late.jsonl", "{\"a\": \"x\"}\n{\"a\": \"y\", \"b\": \"z\"}\n");
    let info = dir.json(&["info", "late.jsonl", "--json"]);
    let columns = &info["splits"][0]["columns"];
    assert_eq!((&columns["a"]["missing"], &columns["b"]["missing"]), (&0.into(), &1.into()));
    let predict = ["predict", "--model", "bert", "--input", "late.jsonl"];
    for more in [&[][..], &["--columns", "a,b"]] {
        let error = dir.fail(1, &[&predict[..], more].concat());
        let expected = "error: late.jsonl, row 1, column `b`: expected text, got null, or no such \
                        column in this row\n";
        assert!(error.ends_with(expected), "{error}");
    }
    let encode = ["encode", "--model", "static", "--input", "late.jsonl", "--output", "a.npy"];
    dir.succeed(&[&encode[..], &["--column", "a"]].concat());
    let error = dir.fail(1, &[&encode[..], &["--column", "c"]].concat());
    assert!(error.contains("`c`: not in late.jsonl, which has `a` and `b`"), "{error}");
}

#[test]
fn rows_are_counted_from_the_start_of_the_input() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    let row = |row| {
        if row == 8200 { "{\"a\": 1, \"b\": \"y\"}\n" } else { "{\"a\": \"x\", \"b\": \"y\"}\n" }
    };
    dir.write("long.jsonl", &(1..=8200).map(row).collect::<String>());
    let expected = "error: long.jsonl, row 8200, column `a`: expected text, got integer 1\n";
    let encode = ["encode", "--model", "static", "--input", "long.jsonl", "--output", "a.npy"];
    let error = dir.fail(1, &[&encode[..], &["--column", "a"]].concat());
    assert!(error.ends_with(expected), "{error}");
    let predict = ["predict", "--model", "bert", "--input", "long.jsonl", "--output", "a.csv"];
    let error = dir.fail(1, &predict);
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_beir_collection_need_not_be_complete() {
    let dir = TestDir::new();
    dir.encoder();
    dir.add_head("bert");
    dir.dual_encoder();
    dir.beir();
    let evaluate = ["evaluate", "reranking", "--model", "bert", "--dataset", "beir"];
    let evaluate =
        [&evaluate[..], &["--first-stage", "static", "--depth", "12", "--json"]].concat();
    let recall = |dir: &TestDir| dir.json(&evaluate)["first_stage"]["recall@12"].as_f64().unwrap();
    assert_eq!(recall(&dir), 1.0);
    // Half of what is relevant for a query is missing, and a query is unknown.
    let judgements = format!("{}q0\tgone\t1\nlost\td0\t1\n", dir.read("beir/qrels/test.tsv"));
    dir.write("beir/qrels/test.tsv", &judgements);
    assert!((recall(&dir) - 11.5 / 12.0).abs() < 1e-12);
    let done = dir.succeed(&evaluate);
    let warnings: Vec<&str> =
        done.stderr.lines().filter(|line| line.starts_with("warning: beir")).collect();
    assert_eq!(warnings.len(), 1, "{}", done.stderr);
    assert!(warnings[0].contains("1 in 1 judgements; queries named"), "{}", warnings[0]);
    let relevance: Value = dir.json(&evaluate)["relevance"].clone();
    assert_eq!(
        (&relevance["metrics"], &relevance["first_stage"]),
        (&"binary".into(), &"graded".into())
    );
}
