//! BM25 against the formula by plain loops in f64.

use rankforge_index::bm25::{Bm25Index, Language};
use rankforge_kernels::Workers;
use std::collections::BTreeMap;

const K1: f64 = 1.2;
const B: f64 = 0.75;

/// Texts of up to 39 words, some of which are frequent and some rare.
fn texts(count: usize) -> Vec<String> {
    let mut state = 7u64;
    let mut next = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (state >> 33) % below
    };
    let mut text = || {
        let length = next(40);
        let words: Vec<String> = (0..length)
            .map(|_| {
                let most = 1 + next(50);
                format!("w{}", next(most))
            })
            .collect();
        words.join(" ")
    };
    (0..count).map(|_| text()).collect()
}

/// Scores of all texts with a term of the query, best first. Lengths are below 40, which tantivy's
/// byte for a length holds exactly.
fn expected(texts: &[&str], query: &str, k: usize) -> Vec<(u32, f64)> {
    let words: Vec<Vec<&str>> =
        texts.iter().map(|text| text.split_whitespace().collect()).collect();
    let tokens: usize = words.iter().map(Vec::len).sum();
    let average = tokens as f64 / texts.len() as f64;
    let mut scores: BTreeMap<u32, f64> = BTreeMap::new();
    for term in query.split_whitespace() {
        let count = |text: &Vec<&str>| text.iter().filter(|word| **word == term).count() as f64;
        let frequency = words.iter().filter(|text| text.contains(&term)).count() as f64;
        let idf = (1.0 + (texts.len() as f64 - frequency + 0.5) / (frequency + 0.5)).ln();
        for (row, text) in words.iter().enumerate() {
            let (tf, length) = (count(text), text.len() as f64);
            if tf > 0.0 {
                let norm = K1 * (1.0 - B + B * length / average);
                *scores.entry(row as u32).or_default() += idf * (1.0 + K1) * tf / (tf + norm);
            }
        }
    }
    let mut scores: Vec<(u32, f64)> = scores.into_iter().collect();
    scores.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    scores.truncate(k);
    scores
}

#[test]
fn scores_are_those_of_the_formula() {
    let owned = texts(3000);
    let texts: Vec<&str> = owned.iter().map(String::as_str).collect();
    let queries = ["w0 w1 w2", "w40 w41", "w17", "w3 w3 w49", "unknown", "", "w0 w1 w2 w3 w4 w5"];
    let workers = Workers::new(Some(2)).unwrap();
    let index = Bm25Index::in_memory(&texts, Language::None, &workers).unwrap();
    for k in [1, 10, 100, 5000] {
        let found = index.search(&queries, k, &workers).unwrap();
        for (query, found) in queries.iter().zip(&found) {
            let expected = expected(&texts, query, k);
            assert_eq!(found.len(), expected.len(), "{query:?}, {k}");
            for (found, (_, score)) in found.iter().zip(&expected) {
                let difference = (f64::from(found.score) - score).abs();
                assert!(difference < 1e-5 * score.max(1.0), "{query:?}: {found:?}, {score}");
            }
        }
    }
}

#[test]
fn equal_scores_are_ordered_by_row_whatever_the_threads() {
    let texts: Vec<&str> = (0..500).map(|row| if row % 3 == 0 { "b c" } else { "a b" }).collect();
    let one = Workers::new(Some(1)).unwrap();
    let three = Workers::new(Some(3)).unwrap();
    let index = Bm25Index::in_memory(&texts, Language::None, &one).unwrap();
    let found = index.search(&["a", "b", "c"], 4, &one).unwrap();
    let rows: Vec<Vec<u32>> =
        found.iter().map(|list| list.iter().map(|row| row.index).collect()).collect();
    assert_eq!(rows, [[1, 2, 4, 5], [0, 1, 2, 3], [0, 3, 6, 9]]);
    let again = Bm25Index::in_memory(&texts, Language::None, &three).unwrap();
    assert_eq!(again.search(&["a", "b", "c"], 4, &three).unwrap(), found);
}

#[test]
fn an_empty_collection_has_no_results() {
    let workers = Workers::new(Some(1)).unwrap();
    let index = Bm25Index::in_memory(&[], Language::English, &workers).unwrap();
    assert!(index.is_empty());
    assert_eq!(index.search(&["bees"], 3, &workers).unwrap(), [vec![]]);
}
