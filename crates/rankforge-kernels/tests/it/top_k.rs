//! Top-k against a full ranking in `f64`.

use crate::support::{AWKWARD, EPS, assert_same_bits_for_any_threads, devices, random};
use rankforge_kernels::ops::{Corpus, Neighbour, Similarity, pairwise_similarity};
use rankforge_kernels::{Buffer, Device, View};
use std::sync::atomic::{AtomicUsize, Ordering};

const ALL: [Similarity; 4] =
    [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean, Similarity::Manhattan];

fn similarity(kind: Similarity, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let norm = |x: &[f32]| x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(1e-12);
    match kind {
        Similarity::Dot => dot,
        Similarity::Cosine => dot / (norm(a) * norm(b)),
        Similarity::Euclidean => -pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
        Similarity::Manhattan => -pairs().map(|(a, b)| (a - b).abs()).sum::<f64>(),
    }
}

/// Rounding error of a score: `E` terms of at most `size` each, errors of which are independent.
fn allowed(kind: Similarity, dim: usize) -> f64 {
    let size = match kind {
        Similarity::Cosine => 1.0,
        Similarity::Dot | Similarity::Euclidean => dim as f64,
        Similarity::Manhattan => 2.0 * dim as f64,
    };
    4.0 * EPS * size.max(1.0) * (dim as f64).sqrt().max(1.0)
}

pub(crate) fn run(
    device: &Device,
    kind: Similarity,
    dim: usize,
    queries: &[f32],
    corpus: &[f32],
    k: usize,
) -> Vec<Vec<Neighbour>> {
    let rows = |x: &[f32]| x.len().checked_div(dim).unwrap_or(0);
    let (q, n) = (rows(queries), rows(corpus));
    let queries = Buffer::upload(device, q, dim, queries);
    let corpus = Buffer::upload(device, n, dim, corpus);
    let finished = AtomicUsize::new(0);
    let done = |count| {
        finished.fetch_add(count, Ordering::Relaxed);
    };
    let found = Corpus::prepare(kind, corpus.view()).top_k(queries.view(), k, &done);
    assert_eq!(finished.into_inner(), q, "queries reported as done");
    found
}

/// Checks the `k` nearest of each query on all devices, by both similarities that are products.
#[track_caller]
pub(crate) fn check_products(dim: usize, queries: &[f32], corpus: &[f32], k: usize) {
    for kind in [Similarity::Cosine, Similarity::Dot] {
        for device in devices() {
            let found = run(device, kind, dim, queries, corpus, k);
            for (query, found) in queries.chunks_exact(dim).zip(&found) {
                check(kind, dim, query, corpus, k, found);
            }
        }
    }
}

/// Asserts that `found` is a ranking of all scores, up to rounding.
#[track_caller]
fn check(
    kind: Similarity,
    dim: usize,
    query: &[f32],
    corpus: &[f32],
    k: usize,
    found: &[Neighbour],
) {
    let scores: Vec<f64> =
        corpus.chunks_exact(dim).map(|row| similarity(kind, query, row)).collect();
    let allowed = allowed(kind, dim);
    assert_eq!(found.len(), k.min(scores.len()), "{kind:?}: count");
    let mut expected = scores.clone();
    expected.sort_by(|a, b| b.total_cmp(a));
    let mut seen = vec![false; scores.len()];
    for (place, neighbour) in found.iter().enumerate() {
        let index = neighbour.index as usize;
        assert!(!std::mem::replace(&mut seen[index], true), "{kind:?}: row {index} twice");
        let score = f64::from(neighbour.score);
        assert!((score - scores[index]).abs() <= allowed, "{kind:?}: score {score} of row {index}");
        assert!((score - expected[place]).abs() <= 2.0 * allowed, "{kind:?}: place {place}");
    }
    for pair in found.windows(2) {
        let ordered = pair[0].score > pair[1].score
            || pair[0].score == pair[1].score && pair[0].index < pair[1].index;
        assert!(ordered, "{kind:?}: {pair:?}");
    }
}

#[test]
fn best_rows_match_a_full_ranking_over_awkward_sizes() {
    for (case, &rows) in AWKWARD.iter().chain(&[130, 300]).enumerate() {
        for (dim, count, k) in [(20, 5, 3), (1, 1, 7), (33, 40, 16), (64, 130, 200)] {
            let queries = random(case as u64, count * dim);
            let corpus = random(100 + case as u64, rows * dim);
            for kind in ALL {
                for device in devices() {
                    let found = run(device, kind, dim, &queries, &corpus, k);
                    assert_eq!(found.len(), count);
                    for (query, found) in queries.chunks_exact(dim).zip(&found) {
                        check(kind, dim, query, &corpus, k, found);
                    }
                }
            }
        }
    }
}

#[test]
fn equal_scores_go_by_lower_index_across_tiles_and_parts() {
    // Six different rows, over and over: nearly everything is a tie.
    let (dim, rows) = (8, 10_000);
    let corpus: Vec<f32> = random(1, 6 * dim).iter().copied().cycle().take(rows * dim).collect();
    let queries = random(2, 3 * dim);
    for kind in ALL {
        for device in devices() {
            for (query, found) in
                queries.chunks_exact(dim).zip(run(device, kind, dim, &queries, &corpus, 50))
            {
                let best = (0..6)
                    .max_by(|&a, &b| {
                        let of = |row: usize| similarity(kind, query, &corpus[row * dim..][..dim]);
                        of(a).total_cmp(&of(b))
                    })
                    .expect("six rows");
                let expected: Vec<usize> = (0..50).map(|place| best + 6 * place).collect();
                let got: Vec<usize> = found.iter().map(|found| found.index as usize).collect();
                assert_eq!(got, expected, "{kind:?} {device:?}");
            }
        }
    }
}

#[test]
fn more_neighbours_than_rows_are_all_rows_in_order() {
    let (dim, rows) = (4, 70);
    let (queries, corpus) = (random(5, 2 * dim), random(6, rows * dim));
    for device in devices() {
        let found = run(device, Similarity::Dot, dim, &queries, &corpus, 1000);
        assert!(found.iter().all(|found| found.len() == rows));
        let none = run(device, Similarity::Dot, dim, &queries, &corpus, 0);
        assert!(none.len() == 2 && none.iter().all(Vec::is_empty));
        assert!(run(device, Similarity::Cosine, dim, &[], &corpus, 3).is_empty());
    }
}

#[test]
fn nan_scores_rank_last_and_hide_no_other() {
    let (dim, rows) = (4, 3000);
    let query = random(7, dim);
    let mut corpus = random(8, rows * dim);
    for row in (0..rows).step_by(3) {
        corpus[row * dim] = f32::NAN;
    }
    let clean: Vec<f32> = corpus
        .chunks_exact(dim)
        .map(|row| {
            if row[0].is_nan() {
                f64::NEG_INFINITY
            } else {
                similarity(Similarity::Dot, &query, row)
            }
        })
        .map(|score| score as f32)
        .collect();
    let mut expected: Vec<usize> = (0..rows).collect();
    expected.sort_by(|&a, &b| clean[b].total_cmp(&clean[a]).then(a.cmp(&b)));
    for device in devices() {
        let found = run(device, Similarity::Dot, dim, &query, &corpus, rows);
        let last = found[0].last().expect("all rows");
        assert_eq!((last.index, last.score), (2997, f32::NEG_INFINITY), "{device:?}");
        let few = run(device, Similarity::Dot, dim, &query, &corpus, 20);
        for (place, neighbour) in few[0].iter().enumerate() {
            let error = (neighbour.score - clean[expected[place]]).abs();
            assert!(f64::from(error) <= 2.0 * allowed(Similarity::Dot, dim), "{device:?}: {place}");
        }
    }
}

#[test]
fn the_number_of_threads_does_not_change_neighbours() {
    let dim = 16;
    let (queries, corpus) = (random(9, 300 * dim), random(10, 9000 * dim));
    assert_same_bits_for_any_threads("top_k", |device| {
        // Five queries share the corpus among threads, all of them do not.
        let mut found = run(device, Similarity::Cosine, dim, &queries[..5 * dim], &corpus, 12);
        found.extend(run(device, Similarity::Cosine, dim, &queries, &corpus, 12));
        assert_eq!(found[..5], found[5..10]);
        found.iter().flatten().flat_map(|found| [found.index as f32, found.score]).collect()
    });
}

#[test]
fn pairwise_similarity_compares_rows_of_equal_index() {
    for rows in AWKWARD {
        for dim in [1, 7, 16, 65] {
            let (mut a, b) = (random(11, rows * dim), random(12, rows * dim));
            a.iter_mut().take(dim).for_each(|x| *x = 0.0);
            for kind in ALL {
                for device in devices() {
                    let (x, y) = (
                        Buffer::upload(device, rows, dim, &a),
                        Buffer::upload(device, rows, dim, &b),
                    );
                    let got = pairwise_similarity(kind, x.view(), y.view());
                    assert_eq!(got.len(), rows);
                    for (row, got) in got.iter().enumerate() {
                        let expected =
                            similarity(kind, &a[row * dim..][..dim], &b[row * dim..][..dim]);
                        // Sums are in f64: only the result is rounded.
                        let error = (f64::from(*got) - expected).abs();
                        assert!(
                            error <= EPS * expected.abs(),
                            "{kind:?} row {row}: {got} {expected}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn every_block_and_panel_of_queries_is_ranked() {
    let (dim, count, rows) = (12, 530, 1100);
    let (queries, corpus) = (random(13, count * dim), random(14, rows * dim));
    check_products(dim, &queries, &corpus, 5);
}

#[test]
fn scores_near_the_least_normal_number_are_ranked() {
    let dim = 1024;
    let query = vec![3.2e-14; dim];
    let mut corpus = vec![-3.2e-14; 3 * dim];
    corpus[dim..2 * dim].fill(1.06647e-27);
    corpus[2 * dim..].fill(0.0);
    corpus[2 * dim..2 * dim + 700].fill(1.75862e-27);
    for device in devices() {
        let found = run(device, Similarity::Dot, dim, &query, &corpus, 1);
        assert_eq!(found[0][0].index, 2, "{:?}: {found:?}", device.isa());
    }
}

#[test]
fn infinite_scores_rank_first_and_last() {
    let (dim, rows) = (4, 500);
    let mut corpus = random(20, rows * dim);
    for row in (0..rows).step_by(7) {
        corpus[row * dim + row % dim] =
            if row % 2 == 0 { f32::INFINITY } else { f32::NEG_INFINITY };
    }
    let mut queries = random(21, 3 * dim);
    queries[dim] = f32::INFINITY;
    queries[2 * dim + 1] = f32::NAN;
    for kind in [Similarity::Cosine, Similarity::Dot] {
        for device in devices() {
            let found = run(device, kind, dim, &queries, &corpus, rows);
            for (query, found) in queries.chunks_exact(dim).zip(&found) {
                let score = |row: &Neighbour| {
                    let corpus = &corpus[row.index as usize * dim..][..dim];
                    let score = similarity(kind, query, corpus) as f32;
                    if score.is_nan() { f32::NEG_INFINITY } else { score }
                };
                for found in found {
                    let (got, expected) = (found.score, score(found));
                    assert!(
                        got == expected || (got - expected).abs() <= 1e-5,
                        "{kind:?} {device:?}: {found:?}, expected {expected}"
                    );
                }
                let ordered = |pair: &[Neighbour]| {
                    let (a, b) = (pair[0], pair[1]);
                    a.score > b.score || a.score == b.score && a.index < b.index
                };
                assert!(found.windows(2).all(ordered), "{kind:?} {device:?}: {found:?}");
                assert_eq!(found.len(), rows);
            }
        }
    }
}

#[test]
fn a_corpus_finds_the_same_whether_its_rows_are_owned_or_borrowed_and_at_every_search() {
    let (dim, count, rows) = (20, 150, 2500);
    let (queries, corpus) = (random(27, count * dim), random(28, rows * dim));
    for kind in ALL {
        for device in devices() {
            let queries = Buffer::upload(device, count, dim, &queries);
            let buffer = Buffer::upload(device, rows, dim, &corpus);
            let borrowed = Corpus::prepare(kind, buffer.view());
            let expected = borrowed.top_k(queries.view(), 7, &|_| ());
            let owned = Corpus::prepare(kind, buffer.clone());
            assert_eq!((owned.similarity(), owned.view().rows()), (kind, rows));
            for part in [0..70, 70..150] {
                let found = owned.top_k(queries.view().slice_rows(part.clone()), 7, &|_| ());
                assert_eq!(found, expected[part], "{kind:?} {device:?}");
            }
            if device.shares_host_memory() {
                // One element in front, so that the rows begin where no vector is aligned.
                let values = [&[9.0], &corpus[..]].concat();
                let of_host = View::borrowed(device, rows, dim, &values[1..]);
                let found = Corpus::prepare(kind, of_host).top_k(queries.view(), 7, &|_| ());
                assert_eq!(found, expected, "{kind:?} {device:?}");
            }
        }
    }
}

#[test]
#[should_panic(expected = "View(4294967296 x 0) has more rows than 32 bits number")]
fn a_corpus_of_more_rows_than_a_neighbour_can_name_is_refused() {
    let rows = Buffer::zeros(&devices()[0], 1 << 32, 0);
    Corpus::prepare(Similarity::Dot, rows.view());
}
