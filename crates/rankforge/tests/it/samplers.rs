//! Batches of the samplers.

use crate::support::list;
use rankforge::data::{Rows, Value};
use rankforge::training::{BatchSampler, Dataset, Sampler};
use std::collections::HashSet;
use std::sync::Arc;

fn rows(columns: &[(&str, Vec<String>)]) -> Rows {
    let columns = columns.iter().map(|(name, values)| {
        ((*name).to_owned(), values.iter().map(|value| Value::Text(value.clone())).collect())
    });
    Rows::new(columns.collect()).unwrap()
}

/// A sampler over all rows.
fn sampler(
    kind: BatchSampler,
    rows: &Rows,
    batch_size: usize,
    drop_last: bool,
    seed: u64,
) -> Sampler {
    let dataset = Dataset::new(Arc::new(rows.clone()), None, "test data").unwrap();
    Sampler::new(kind, &dataset, batch_size, drop_last, seed).unwrap()
}

/// 100 rows: the values 0 to 49 twice in the first column, and shifted in the second.
fn repeated() -> Rows {
    let first = (0..100).map(|row| (row % 50).to_string()).collect();
    let second = (0..100).map(|row| ((row + 7) % 50).to_string()).collect();
    rows(&[("query", first), ("answer", second)])
}

fn text<'a>(rows: &'a Rows, column: &str, row: usize) -> &'a str {
    rows.texts(column).unwrap()[row]
}

#[test]
fn batch_sampler_cuts_a_permutation() {
    let data = repeated();
    let drawing = sampler(BatchSampler::BatchSampler, &data, 16, false, 42);
    let batches = drawing.epoch(0).batches;
    let sizes: Vec<usize> = batches.iter().map(Vec::len).collect();
    assert_eq!(sizes, [16, 16, 16, 16, 16, 16, 4]);
    assert_eq!(drawing.batches_per_epoch(), 7);
    let mut all = batches.concat();
    assert!(!all.is_sorted(), "the rows are not shuffled");
    all.sort_unstable();
    assert_eq!(all, (0..100).collect::<Vec<_>>());
    let dropping = sampler(BatchSampler::BatchSampler, &data, 16, true, 42);
    assert_eq!(dropping.epoch(0).batches, batches[..6]);
    assert_eq!(dropping.batches_per_epoch(), 6);
}

#[test]
fn the_order_is_a_function_of_seed_plus_epoch() {
    let data = repeated();
    let order = |kind, seed, epoch| sampler(kind, &data, 8, false, seed).epoch(epoch).batches;
    for kind in [BatchSampler::BatchSampler, BatchSampler::NoDuplicates] {
        assert_eq!(order(kind, 42, 3), order(kind, 42, 3));
        assert_eq!(order(kind, 42, 3), order(kind, 44, 1));
        assert_ne!(order(kind, 42, 0), order(kind, 42, 1));
    }
}

#[test]
fn no_duplicates_repeats_no_value_within_a_batch_in_whatever_column() {
    let data = repeated();
    let drawn = sampler(BatchSampler::NoDuplicates, &data, 10, false, 1).epoch(0);
    let mut seen: Vec<usize> = drawn.batches.concat();
    for batch in &drawn.batches {
        let mut values = HashSet::new();
        for &row in batch {
            let own = [text(&data, "query", row), text(&data, "answer", row)];
            assert!(own.iter().all(|value| !values.contains(value)), "row {row} repeats a value");
            values.extend(own);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>(), "every row once");
}

#[test]
fn no_duplicates_defers_rows_as_the_reference_algorithm_does() {
    let data = repeated();
    let batch_size = 10;
    // The permutation shows itself when nothing repeats.
    let distinct = rows(&[("query", (0..100).map(|row| format!("row {row}")).collect())]);
    let permutation =
        sampler(BatchSampler::NoDuplicates, &distinct, 100, false, 5).epoch(0).batches.concat();
    // The same algorithm without a linked list: walk what is left, take what fits, keep the rest.
    let mut left = permutation;
    let mut expected = Vec::new();
    while !left.is_empty() {
        let (mut batch, mut values, mut rest) = (Vec::new(), HashSet::new(), Vec::new());
        for row in left {
            let own = [text(&data, "query", row), text(&data, "answer", row)];
            if batch.len() < batch_size && own.iter().all(|value| !values.contains(*value)) {
                values.extend(own);
                batch.push(row);
            } else {
                rest.push(row);
            }
        }
        expected.push(batch);
        left = rest;
    }
    let drawing = sampler(BatchSampler::NoDuplicates, &data, batch_size, false, 5);
    assert_eq!(drawing.epoch(0).batches, expected);
}

#[test]
fn labels_are_no_values() {
    let texts = (0..20).map(|row| format!("text {row}")).collect();
    let mut columns = rows(&[("query", texts)]).into_columns();
    columns.push(("label".to_owned(), vec![Value::Integer(1); 20]));
    let data = Rows::new(columns).unwrap();
    let drawn = sampler(BatchSampler::NoDuplicates, &data, 10, false, 1).epoch(0);
    assert_eq!(drawn.batches.iter().map(Vec::len).collect::<Vec<_>>(), [10, 10]);
}

#[test]
fn a_list_of_texts_is_one_value() {
    let documents = [&["a, b"][..], &["a", "b"], &["a", "b"], &["a"]];
    let queries = ["1", "2", "3", "a"].map(str::to_owned).to_vec();
    let mut columns = rows(&[("query", queries)]).into_columns();
    columns.push(("documents".to_owned(), documents.map(list).to_vec()));
    let data = Rows::new(columns).unwrap();
    let batches = sampler(BatchSampler::NoDuplicates, &data, 4, false, 1).epoch(0).batches;
    let of = |row: usize| batches.iter().position(|batch| batch.contains(&row));
    assert_ne!(of(1), of(2), "equal lists");
    assert_eq!(batches.len(), 2, "neither [\"a, b\"] nor [\"a\"] is any of the others");
}

#[test]
fn a_short_pass_is_filled_by_drawing_again_and_says_so() {
    // 30 rows of 3 values: batches of 3 at most... and 30 / 3 of them need every value evenly.
    let values = (0..30).map(|row| {
        if row < 18 {
            "a"
        } else if row < 25 {
            "b"
        } else {
            "c"
        }
    });
    let data = rows(&[("query", values.map(str::to_owned).collect())]);
    let drawing = sampler(BatchSampler::NoDuplicates, &data, 3, true, 3);
    let drawn = drawing.epoch(0);
    assert_eq!(drawing.batches_per_epoch(), 10);
    assert_eq!(drawn.batches.len(), 10, "five of one pass, five of the next");
    assert!(drawn.batches.iter().all(|batch| batch.len() == 3));
    assert!(drawn.warning.unwrap().contains("found 5 of the 10 batches"));
}

#[test]
fn too_few_values_end_the_epoch_early_and_say_so() {
    let data = rows(&[("query", vec!["same".to_owned(); 20])]);
    let drawn = sampler(BatchSampler::NoDuplicates, &data, 4, true, 3).epoch(0);
    assert!(drawn.batches.is_empty());
    assert!(drawn.warning.unwrap().contains("too few distinct values"));
    let keeping = sampler(BatchSampler::NoDuplicates, &data, 4, false, 3).epoch(0);
    assert_eq!(keeping.batches.len(), 20, "batches of one row");
    assert_eq!(keeping.warning, None);
}

#[test]
fn ten_thousand_pairs_of_repeated_queries_stay_fast() {
    // Six rows for each query, as mined pairs have them; quadratic work would take minutes.
    let queries = (0..60_000).map(|row| format!("query {}", row / 6)).collect();
    let answers = (0..60_000).map(|row| format!("answer {row}")).collect();
    let data = rows(&[("query", queries), ("answer", answers)]);
    #[expect(clippy::disallowed_methods, reason = "quadratic work would take minutes")]
    let begun = std::time::Instant::now();
    let drawn = sampler(BatchSampler::NoDuplicates, &data, 16, false, 1).epoch(0);
    assert!(drawn.batches.len() >= 3750);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}
