//! Input files that are damaged, in another format than a command expects, or not all there.

use crate::support::{PAIRS, TestDir};
use rankforge::data::{Location, RowWriter, Rows, Value, load_rows};
use std::path::Path;

#[test]
fn a_damaged_parquet_file_is_an_error_and_no_panic() {
    let dir = TestDir::new();
    dir.encoder();
    damaged_parquet(&dir.path("damaged.parquet"));
    let rank = ["rank", "--model", "bert", "--query", "q", "--documents", "damaged.parquet"];
    let error = dir.fail(1, &rank);
    assert!(error.starts_with("error: damaged.parquet: damaged: cannot be read"), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}

/// Writes a file with one changed byte that makes the parquet crates panic.
fn damaged_parquet(path: &Path) {
    let texts = |side: fn(&(&str, &str)) -> String| -> Vec<Value> {
        PAIRS.iter().map(|pair| Value::Text(side(pair))).chain([Value::Null]).collect()
    };
    let query = texts(|(query, _)| (*query).to_owned());
    let answer = texts(|(_, answer)| (*answer).to_owned());
    let rows = Rows::new(vec![("query".into(), query), ("answer".into(), answer)]).unwrap();
    let mut writer = RowWriter::create(path).unwrap();
    writer.write(&rows).unwrap();
    writer.finish().unwrap();
    let whole = std::fs::read(path).unwrap();
    for index in 0..whole.len() {
        for flipped in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[index] ^= flipped;
            std::fs::write(path, bytes).unwrap();
            let read = load_rows(&Location::new(path));
            if read.is_err_and(|error| error.to_string().contains(": damaged: cannot be read")) {
                return;
            }
        }
    }
    panic!("no changed byte makes the parquet crates panic");
}

#[test]
fn documents_to_rank_are_lines_of_any_file_without_a_known_extension() {
    let dir = TestDir::new();
    dir.encoder();
    let rank = ["rank", "--model", "bert", "--query", "what do bees make", "--json"];
    for name in ["docs.dat", "docs.txt", "docs", "docs.v2"] {
        dir.write(name, "Bees make honey.\r\n\nIron rusts.");
        let ranking = dir.json(&[&rank[..], &["--documents", name]].concat());
        let texts: Vec<&str> =
            ranking.as_array().unwrap().iter().map(|row| row["text"].as_str().unwrap()).collect();
        assert_eq!(texts.len(), 2, "{name}");
        assert!(texts.contains(&"Bees make honey."), "{name}: {texts:?}");
    }
    for name in ["docs.txt.gz", "docs.ZIP", "docs.zst", "docs.bz2", "docs.xz"] {
        dir.write(name, "x");
        let error = dir.fail(1, &[&rank[..], &["--documents", name]].concat());
        let expected = format!("error: {name}: compressed files are not read\nhint: decompress");
        assert!(error.starts_with(&expected), "{error}");
    }
    dir.write("docs.jsonl.gz", "x");
    let error = dir.fail(1, &[&rank[..], &["--documents", "docs.jsonl.gz"]].concat());
    assert!(error.starts_with("error: docs.jsonl.gz: cannot be decompressed: "), "{error}");
    std::fs::write(dir.path("latin.dat"), b"one\n\nsch\xf6n\n").unwrap();
    let error = dir.fail(1, &[&rank[..], &["--documents", "latin.dat"]].concat());
    assert!(error.starts_with("error: latin.dat, line 3: invalid UTF-8 at byte 4\n"), "{error}");
}

#[test]
fn an_output_in_a_directory_that_does_not_exist_is_refused_by_its_name() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    dir.pairs();
    let encode = ["encode", "--model", "static", "--input", "pairs.jsonl", "--column", "query"];
    for (arguments, output) in [
        (&["predict", "--model", "bert", "--input", "pairs.jsonl"][..], "no/o.csv"),
        (&encode, "no/o.npy"),
        (&["mine", "--model", "static", "--dataset", "pairs.jsonl"], "no/o.csv"),
    ] {
        let error = dir.fail(1, &[arguments, &["--output", output]].concat());
        let expected = format!("error: {output}: the directory no does not exist\n");
        assert!(error.ends_with(&expected), "{arguments:?}: {error}");
    }
}

#[test]
fn correlation_reads_the_first_three_columns() {
    let dir = TestDir::new();
    dir.encoder();
    let row = |index: usize, (a, b): &(&str, &str)| {
        format!("{{\"a\": \"{a}\", \"b\": \"{b}\", \"gold\": {index}, \"source\": \"x\"}}\n")
    };
    let rows = PAIRS.iter().enumerate().map(|(index, pair)| row(index, pair));
    dir.write("four.jsonl", &rows.collect::<String>());
    let evaluate = ["evaluate", "correlation", "--model", "bert", "--dataset"];
    let chosen = ["four.jsonl", "--columns", "a,b,gold", "--json"];
    let expected = dir.json(&[&evaluate[..], &chosen].concat());
    assert_eq!(dir.json(&[&evaluate[..], &["four.jsonl", "--json"]].concat()), expected);
    dir.write("other.csv", "id,a,b,gold\n1,x,y,0.5\n2,x,z,0.1\n");
    dir.write("two.csv", "a,b\nx,y\n");
    for (name, message) in [
        ("other.csv", "error: other.csv, row 1, column `b`: expected a finite number, got text"),
        ("two.csv", "error: two.csv: expected three columns in this order"),
    ] {
        let error = dir.fail(1, &[&evaluate[..], &[name]].concat());
        assert!(error.starts_with(message), "{error}");
        assert!(error.contains("hint: --columns A,B,SCORE names"), "{error}");
    }
}

#[test]
fn cells_of_every_command_are_named_with_their_file() {
    let dir = TestDir::new();
    dir.encoder();
    dir.dual_encoder();
    let rows = "{\"query\": \"a\", \"positive\": \"b\", \"negative\": \"c\"}\n\
                {\"query\": \"a\", \"negative\": \"c\"}\n";
    dir.write("rows.jsonl", rows);
    dir.write("r.toml", "[model]\npath = \"bert\"\n[dataset]\npath = \"rows.jsonl\"\n");
    let rank = ["rank", "--model", "bert", "--query", "q", "--documents", "rows.jsonl"];
    for arguments in [
        &["predict", "--model", "bert", "--input", "rows.jsonl", "--output", "o.csv"][..],
        &["mine", "--model", "static", "--dataset", "rows.jsonl", "--output", "o.csv"],
        &[&rank[..], &["--column", "positive"]].concat(),
        &["evaluate", "reranking", "--model", "bert", "--dataset", "rows.jsonl"],
        &["train", "r.toml"],
    ] {
        let error = dir.fail(1, arguments);
        assert!(error.contains("rows.jsonl, row 2, column `positive`: "), "{error}");
        assert!(error.contains("got null, or no such column in this row"), "{error}");
    }
}

#[test]
fn a_collection_with_documents_without_text_is_read_with_a_warning() {
    let dir = TestDir::new();
    dir.encoder();
    dir.add_head("bert");
    dir.dual_encoder();
    dir.beir();
    let corpus = dir.read("beir/corpus.jsonl") + "{\"_id\": \"bare\", \"title\": \"Bees\"}\n";
    dir.write("beir/corpus.jsonl", &corpus);
    let evaluate = ["evaluate", "reranking", "--model", "bert", "--dataset", "beir"];
    let done = dir.succeed(&[&evaluate[..], &["--first-stage", "static"]].concat());
    let warning = "beir: documents without `text` in corpus.jsonl, which is read as empty: 1\n";
    assert!(done.stderr.contains(warning), "{}", done.stderr);
}
