//! The batches of the samplers.

use crate::support::list;
use rankforge::data::{RowSource, Rows, Value};
use rankforge::training::{BatchSampler, Dataset, Sampler};
use std::collections::{HashMap, HashSet};
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

/// 100 rows. Each of the values 0 to 49 occurs twice in both columns, shifted by 7 rows in the
/// second.
fn repeated() -> Rows {
    let first = (0..100).map(|row| (row % 50).to_string()).collect();
    let second = (0..100).map(|row| ((row + 7) % 50).to_string()).collect();
    rows(&[("query", first), ("answer", second)])
}

fn text<'a>(rows: &'a Rows, column: &str, row: usize) -> &'a str {
    rows.texts(column).unwrap()[row]
}

#[test]
fn batch_sampler_divides_a_permutation_into_batches() {
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
fn no_duplicates_repeats_no_value_within_a_batch_in_any_column() {
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
    assert_eq!(seen, (0..100).collect::<Vec<_>>(), "not every row occurs once");
}

#[test]
fn no_duplicates_agrees_with_a_reference_implementation() {
    let data = repeated();
    let batch_size = 10;
    // Without repeated values, one batch of all rows is the permutation.
    let distinct = rows(&[("query", (0..100).map(|row| format!("row {row}")).collect())]);
    let permutation =
        sampler(BatchSampler::NoDuplicates, &distinct, 100, false, 5).epoch(0).batches.concat();
    // The same algorithm without a linked list: take the rows that repeat no value, keep the rest.
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
fn labels_are_not_compared() {
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
    assert_ne!(of(1), of(2), "equal lists are in one batch");
    assert_eq!(batches.len(), 2, "[\"a, b\"] and [\"a\"] differ from all other cells");
}

#[test]
fn a_pass_with_too_few_batches_is_extended_by_further_passes_with_a_warning() {
    // 30 rows of 3 distinct values. Each batch of 3 needs all values, and one of them is in 5 rows
    // only, so a pass has 5 of the 10 batches.
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
    assert_eq!(drawn.batches.len(), 10, "five batches of the first pass, and five of the next");
    assert!(drawn.batches.iter().all(|batch| batch.len() == 3));
    assert!(drawn.warning.unwrap().contains("found 5 of the 10 batches"));
}

#[test]
fn too_few_distinct_values_end_the_epoch_early_with_a_warning() {
    let data = rows(&[("query", vec!["same".to_owned(); 20])]);
    let drawn = sampler(BatchSampler::NoDuplicates, &data, 4, true, 3).epoch(0);
    assert!(drawn.batches.is_empty());
    assert!(drawn.warning.unwrap().contains("too few distinct values"));
    let keeping = sampler(BatchSampler::NoDuplicates, &data, 4, false, 3).epoch(0);
    assert_eq!(keeping.batches.len(), 20, "batches of one row");
    assert_eq!(keeping.warning, None);
}

#[test]
fn ten_thousand_repeated_queries_are_sampled_in_seconds() {
    // Each query has six rows, as in mined pairs. A quadratic algorithm would take minutes.
    let queries = (0..60_000).map(|row| format!("query {}", row / 6)).collect();
    let answers = (0..60_000).map(|row| format!("answer {row}")).collect();
    let data = rows(&[("query", queries), ("answer", answers)]);
    #[expect(clippy::disallowed_methods, reason = "a quadratic algorithm would take minutes")]
    let begun = std::time::Instant::now();
    let drawn = sampler(BatchSampler::NoDuplicates, &data, 16, false, 1).epoch(0);
    assert!(drawn.batches.len() >= 3750);
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn no_duplicates_agrees_with_a_plain_walk_on_texts_that_occur_often() {
    // Few texts in three columns: rows wait for several texts in turn.
    let mut state = 7_u64;
    let mut draw = |count: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 33) % count).to_string()
    };
    for (distinct, batch_size) in [(3, 2), (9, 4), (40, 8), (200, 16)] {
        let columns: Vec<(&str, Vec<String>)> =
            ["a", "b", "c"].map(|name| (name, (0..300).map(|_| draw(distinct)).collect())).into();
        let data = rows(&columns);
        let texts = |row: usize| columns.iter().map(move |(_, texts)| texts[row].as_str());
        let unique = rows(&[("a", (0..300).map(|row| row.to_string()).collect())]);
        let mut left =
            sampler(BatchSampler::NoDuplicates, &unique, 300, false, 5).epoch(0).batches.concat();
        let mut expected = Vec::new();
        while !left.is_empty() {
            let (mut batch, mut taken) = (Vec::new(), HashSet::new());
            left.retain(|&row| {
                let fits = batch.len() < batch_size && texts(row).all(|text| !taken.contains(text));
                if fits {
                    taken.extend(texts(row));
                    batch.push(row);
                }
                !fits
            });
            expected.push(batch);
        }
        let drawing = sampler(BatchSampler::NoDuplicates, &data, batch_size, false, 5);
        let found = drawing.epoch(0).batches;
        assert_eq!(found[..expected.len().min(found.len())], expected, "{distinct} texts");
    }
}

/// Rows that are made when they are read: `count` pairs, every tenth with one of 100 questions.
struct Pairs(usize);

impl RowSource for Pairs {
    fn len(&self) -> usize {
        self.0
    }

    fn column_names(&self) -> Vec<String> {
        vec!["query".to_owned(), "answer".to_owned()]
    }

    fn read(&self, rows: &[usize]) -> Result<Rows, rankforge::data::DataError> {
        let question = |&row: &usize| {
            let number = if row % 10 == 0 { row % 1000 } else { row };
            Value::Text(format!("question {number}"))
        };
        let answer = |row: &usize| Value::Text(format!("answer {row}"));
        Rows::new(vec![
            ("query".to_owned(), rows.iter().map(question).collect()),
            ("answer".to_owned(), rows.iter().map(answer).collect()),
        ])
    }
}

#[test]
#[ignore = "10 million rows: run alone, in a release build"]
fn no_duplicates_takes_10_million_rows_within_1_gb() {
    let dataset = Dataset::new(Arc::new(Pairs(10_000_000)), None, "test data").unwrap();
    let drawing = Sampler::new(BatchSampler::NoDuplicates, &dataset, 64, false, 1).unwrap();
    let drawn = drawing.epoch(0);
    assert_eq!(drawn.batches.iter().map(Vec::len).sum::<usize>(), 10_000_000);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 1_000_000, "{kib} KiB");
}

/// Rows with this number of rows of each label.
fn with_labels(counts: &[usize]) -> Rows {
    let labels = counts.iter().enumerate();
    let labels: Vec<i64> =
        labels.flat_map(|(label, &count)| std::iter::repeat_n(label as i64, count)).collect();
    let texts = (0..labels.len()).map(|row| format!("text {row}")).collect();
    let mut columns = rows(&[("text", texts)]).into_columns();
    columns.push(("label".to_owned(), labels.into_iter().map(Value::Integer).collect()));
    Rows::new(columns).unwrap()
}

#[test]
fn group_by_label_has_every_label_of_a_batch_at_least_twice() {
    for (counts, batch_size, drop_last) in [
        (&[50, 50][..], 8, false),
        (&[7, 100, 31, 2, 1], 6, false),
        (&[7, 100, 31, 2, 1], 6, true),
        (&[3; 40], 16, false),
        (&[2, 2, 2], 4, false),
    ] {
        let data = with_labels(counts);
        let labels = data.numbers("label").unwrap();
        let drawing = sampler(BatchSampler::GroupByLabel, &data, batch_size, drop_last, 3);
        let drawn = drawing.epoch(1).batches;
        // As in sentence-transformers: rounds end when one label is left.
        let mut pairs: Vec<usize> = counts.iter().map(|count| count / 2).collect();
        pairs.sort_unstable_by(|a, b| b.cmp(a));
        let stream = 2 * pairs.iter().map(|&count| count.min(pairs[1])).sum::<usize>();
        let last = usize::from(!drop_last && stream % batch_size >= 4);
        assert_eq!(drawn.len(), stream / batch_size + last, "{counts:?}");
        assert_eq!(drawing.batches_per_epoch(), drawn.len());
        let mut seen = HashSet::new();
        for batch in &drawn {
            assert!(batch.len() == batch_size || batch == drawn.last().unwrap());
            let mut of_batch = HashMap::<u64, usize>::new();
            for &row in batch {
                assert!(seen.insert(row), "row {row} occurs twice");
                *of_batch.entry(labels[row].to_bits()).or_default() += 1;
            }
            assert!(of_batch.len() >= 2, "{counts:?}: one label in a batch");
            assert!(of_batch.values().all(|&count| count >= 2), "{counts:?}: a single row");
        }
        assert_eq!(
            drawn,
            sampler(BatchSampler::GroupByLabel, &data, batch_size, drop_last, 4).epoch(0).batches
        );
        assert_ne!(drawn, drawing.epoch(2).batches);
    }
    let drawn = sampler(BatchSampler::GroupByLabel, &with_labels(&[3, 9]), 4, false, 0).epoch(0);
    let warning = drawn.warning.unwrap();
    assert!(warning.contains("leaves 8 of 12 rows out"), "{warning}");
}

#[test]
fn group_by_label_refuses_batches_and_labels_that_it_cannot_use() {
    let refused = |data: Rows, batch_size| {
        let dataset = Dataset::new(Arc::new(data), None, "test data").unwrap();
        let made = Sampler::new(BatchSampler::GroupByLabel, &dataset, batch_size, false, 0);
        made.map(drop).unwrap_err().to_string()
    };
    for batch_size in [2, 7] {
        let message = refused(with_labels(&[4, 4]), batch_size);
        assert!(message.contains("even number of rows of at least 4"), "{message}");
    }
    let message = refused(with_labels(&[9, 1]), 4);
    assert!(message.contains("at least two labels with two rows each"), "{message}");
    let message = refused(rows(&[("query", vec!["a".to_owned(), "b".to_owned()])]), 4);
    assert!(message.contains("a label column, for group_by_label"), "{message}");
}
