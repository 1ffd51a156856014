use crate::reference::matrix::Matrix;
use crate::settings::norm::LEAST_NORM;
use crate::settings::similarity::{Neighbour, SearchOf, Similarity, nearer_first};

/// The similarity of row `i` of `a` and row `j` of `b`, rounded to `f32`.
fn similarity(similarity: Similarity, a: Matrix<'_>, i: usize, b: Matrix<'_>, j: usize) -> f32 {
    let sum = |f: fn(f64, f64) -> f64| -> f64 {
        (0..a.columns).map(|column| f(a.at(i, column), b.at(j, column))).sum()
    };
    let norm = |x: Matrix<'_>, row: usize| {
        let norm = (0..x.columns).map(|column| x.at(row, column).powi(2)).sum::<f64>().sqrt();
        // NaN stays.
        if norm < LEAST_NORM { LEAST_NORM } else { norm }
    };
    let score = match similarity {
        Similarity::Dot => sum(|a, b| a * b),
        Similarity::Cosine => sum(|a, b| a * b) / (norm(a, i) * norm(b, j)),
        Similarity::Euclidean => -sum(|a, b| (a - b).powi(2)).sqrt(),
        Similarity::Manhattan => -sum(|a, b| (a - b).abs()),
    };
    score as f32
}

/// The `k` best rows of the corpus for each query: all scores, sorted. NaN counts as minus
/// infinity.
pub(crate) fn search(
    search: SearchOf<Matrix<'_>>,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    let SearchOf { similarity: kind, queries, corpus, k } = search;
    let of_query = |query| {
        let neighbour = |index: usize| {
            let score = similarity(kind, queries, query, corpus, index);
            let score = if score.is_nan() { f32::NEG_INFINITY } else { score };
            Neighbour { index: index as u32, score }
        };
        let mut all: Vec<Neighbour> = (0..corpus.rows).map(neighbour).collect();
        all.sort_by(nearer_first);
        all.truncate(k);
        done(1);
        all
    };
    (0..queries.rows).map(of_query).collect()
}

/// The similarity of each row of `a` and the same row of `b`.
pub(crate) fn pairwise_similarity(kind: Similarity, a: Matrix<'_>, b: Matrix<'_>) -> Vec<f32> {
    (0..a.rows).map(|row| similarity(kind, a, row, b, row)).collect()
}
