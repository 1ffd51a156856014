//! What data sections of a recipe do with their rows: filter, dedup, shuffle_seed,
//! train_test_split and limit.

use rankforge::data::Rows;
use rankforge::recipe::Recipe;
use std::path::Path;

fn parse(data: &Path, fields: &str) -> Result<Recipe, String> {
    let text = format!(
        "[model]\npath = \"m\"\n[dataset]\npath = '{}'\n{fields}\n\
         [eval_dataset]\npath = '{0}'\n{}\n[arguments]\noutput_dir = \"o\"\n",
        data.display(),
        fields.replace("\"train\"", "\"test\"")
    );
    Recipe::parse("r.toml", &text, &[]).map_err(|error| error.to_string())
}

/// Sixty rows of two sources; `n` counts them, and every third text occurs before.
fn data(folder: &Path) -> std::path::PathBuf {
    let row = |n: usize| {
        let (text, source) = (n - if n % 3 == 2 { 1 } else { 0 }, if n < 40 { "a" } else { "b" });
        format!("{{\"text\": \"text {text}\", \"n\": {n}, \"source\": \"{source}\"}}\n")
    };
    let path = folder.join("rows.jsonl");
    std::fs::write(&path, (0..60).map(row).collect::<String>()).unwrap();
    path
}

/// The rows of `[dataset]` and `[eval_dataset]`.
fn rows(fields: &str) -> Result<[Rows; 2], String> {
    let folder = tempfile::tempdir().unwrap();
    let recipe = parse(&data(folder.path()), fields)?;
    let load = |rows: Result<Rows, rankforge::Error>| rows.map_err(|error| error.to_string());
    Ok([load(recipe.train_sets[0].rows.load())?, load(recipe.eval_sets[0].rows.load())?])
}

fn numbers(rows: &Rows) -> Vec<usize> {
    rows.numbers("n").unwrap().into_iter().map(|n| n as usize).collect()
}

#[test]
fn rows_are_filtered_and_kept_once_in_the_order_of_the_file() {
    let [kept, _] = rows("filter = [\"source = b\", \"n >= 45\"]\nlimit = 5").unwrap();
    assert_eq!(numbers(&kept), [45, 46, 47, 48, 49]);
    // Columns that only conditions read are left out.
    let [kept, _] =
        rows("columns = [\"n\"]\nfilter = [\"source = b\"]\ndedup = [\"text\"]").unwrap();
    assert_eq!(kept.column_names(), ["n"]);
    let expected: Vec<usize> = (40..60).filter(|n| n % 3 != 2).collect();
    assert_eq!(numbers(&kept), expected);
    assert_eq!(rows("dedup = []").unwrap()[0].len(), 60);
}

#[test]
fn the_parts_of_a_split_are_all_rows_and_share_none() {
    let split = "train_test_split = { test_size = 0.25, part = \"train\" }";
    let [train, test] = rows(&format!("shuffle_seed = 3\n{split}")).unwrap();
    assert_eq!((train.len(), test.len()), (45, 15));
    let mut all = [numbers(&train), numbers(&test)].concat();
    all.sort_unstable();
    assert_eq!(all, (0..60).collect::<Vec<_>>());
    let [again, _] = rows(&format!("shuffle_seed = 3\n{split}\nlimit = 10")).unwrap();
    assert_eq!(numbers(&again), numbers(&train)[..10]);
    let [other, _] = rows(&split.replace("part", "seed = 1, part")).unwrap();
    assert_ne!(numbers(&other), numbers(&train));
    let [shuffled, _] = rows("shuffle_seed = 3").unwrap();
    assert_ne!(numbers(&shuffled), (0..60).collect::<Vec<_>>());
}

#[test]
fn steps_that_cannot_be_done_are_refused() {
    for (fields, parts) in [
        ("filter = [\"source\"]", &["r.toml, line 5", "expected COLUMN and one of"][..]),
        ("filter = [\"sources = a\"]", &["`sources`", "did you mean `source`?"]),
        ("filter = [\"source = c\"]", &["rows.jsonl", "no row is left"]),
        ("dedup = [\"txt\"]", &["`txt`"]),
        ("train_test_split = { test_size = 60, part = \"train\" }", &["fewer than the 60 rows"]),
        ("train_test_split = { test_size = 1.5, part = \"train\" }", &["a share between 0 and 1"]),
        ("train_test_split = { test_size = 0.5 }", &["part"]),
        ("streaming = true\nshuffle_seed = 1", &["`dataset.shuffle_seed`", "streaming = false"]),
    ] {
        let error = rows(fields).map(drop).unwrap_err();
        parts.iter().for_each(|part| assert!(error.contains(part), "{part:?} in {error}"));
    }
}

#[test]
fn files_without_a_header_row_get_names() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("triples.tsv");
    std::fs::write(&path, "a\tb\tc\n").unwrap();
    let recipe = parse(&path, "header = [\"query\", \"positive\", \"negative\"]").unwrap();
    let rows = recipe.train_sets[0].rows.load().unwrap();
    assert_eq!(rows.column_names(), ["query", "positive", "negative"]);
}
