//! Rankings of several searches made into one.

use crate::error::IndexError;
use rankforge_kernels::ops::Neighbour;
use std::collections::HashMap;

/// Default of `k` in [`reciprocal_rank_fusion`], as in the paper.
pub const RRF_K: f64 = 60.0;

/// Default number of rows of each ranking that are fused; more where more are wanted.
pub const CANDIDATES: usize = 100;

/// Orders the rows of several rankings by `sum_i 1 / (k + rank_i)`, with ranks from 1; a ranking
/// that does not have a row adds nothing to it. Best first, ties by lower index, at most `top_k`.
///
/// # Paper
/// Cormack, Clarke and Buettcher 2009, "Reciprocal Rank Fusion outperforms Condorcet and individual
/// Rank Learning Methods".
///
/// # Examples
/// ```
/// use rankforge_index::fusion::{RRF_K, reciprocal_rank_fusion};
/// use rankforge_kernels::ops::Neighbour;
///
/// let ranking = |rows: &[u32]| -> Vec<Neighbour> {
///     rows.iter().map(|&index| Neighbour { index, score: 0.0 }).collect()
/// };
/// let (dense, bm25) = (ranking(&[4, 7, 9]), ranking(&[7, 2]));
/// let fused = reciprocal_rank_fusion(&[&dense, &bm25], RRF_K, 2);
/// assert_eq!(fused.iter().map(|row| row.index).collect::<Vec<_>>(), [7, 4]);
/// ```
pub fn reciprocal_rank_fusion(rankings: &[&[Neighbour]], k: f64, top_k: usize) -> Vec<Neighbour> {
    let mut sums = HashMap::new();
    for ranking in rankings {
        for (place, row) in ranking.iter().enumerate() {
            *sums.entry(row.index).or_insert(0.0) += 1.0 / (k + place as f64 + 1.0);
        }
    }
    best(sums, top_k)
}

/// Orders the rows of several rankings by `sum_i w_i (s_i - min_i) / (max_i - min_i)`, where `s_i`
/// is the score of the row in ranking `i`, and `min_i` and `max_i` are the lowest and highest score
/// there. A ranking that does not have a row adds nothing to it; in one whose scores are all equal,
/// each row counts as 1. Best first, ties by lower index, at most `top_k`.
///
/// # Errors
/// When the number of weights is not that of the rankings, or one is negative or not finite.
pub fn weighted_fusion(
    rankings: &[&[Neighbour]],
    weights: &[f64],
    top_k: usize,
) -> Result<Vec<Neighbour>, IndexError> {
    if weights.len() != rankings.len() || weights.iter().any(|w| !w.is_finite() || *w < 0.0) {
        return Err(IndexError::Argument {
            argument: "weights",
            expected: format!("{} finite numbers of at least 0", rankings.len()),
            got: weights.iter().map(f64::to_string).collect::<Vec<_>>().join(", "),
        });
    }
    let mut sums = HashMap::new();
    for (ranking, weight) in rankings.iter().zip(weights) {
        let scores = || ranking.iter().map(|row| f64::from(row.score));
        let (low, high) =
            (scores().fold(f64::INFINITY, f64::min), scores().fold(f64::NEG_INFINITY, f64::max));
        for row in *ranking {
            let score = f64::from(row.score);
            let share = if high > low { (score - low) / (high - low) } else { 1.0 };
            *sums.entry(row.index).or_insert(0.0) += weight * share;
        }
    }
    Ok(best(sums, top_k))
}

/// The rows of the highest sums.
fn best(sums: HashMap<u32, f64>, top_k: usize) -> Vec<Neighbour> {
    let mut rows: Vec<(u32, f64)> = sums.into_iter().collect();
    rows.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    rows.truncate(top_k);
    rows.into_iter().map(|(index, sum)| Neighbour { index, score: sum as f32 }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranking(rows: &[(u32, f32)]) -> Vec<Neighbour> {
        rows.iter().map(|&(index, score)| Neighbour { index, score }).collect()
    }

    fn rows(found: &[Neighbour]) -> Vec<(u32, f32)> {
        found.iter().map(|row| (row.index, row.score)).collect()
    }

    #[test]
    fn reciprocal_ranks_are_added() {
        let (a, b) = (ranking(&[(1, 9.0), (2, 8.0), (3, 7.0)]), ranking(&[(3, 0.5), (5, 0.4)]));
        let fused = reciprocal_rank_fusion(&[&a, &b], 60.0, 10);
        let expected: [(u32, f64); 4] = [
            (3, 1.0 / 63.0 + 1.0 / 61.0),
            (1, 1.0 / 61.0),
            // Rank 2 in either ranking: the lower row is first.
            (2, 1.0 / 62.0),
            (5, 1.0 / 62.0),
        ];
        assert_eq!(rows(&fused), expected.map(|(row, sum)| (row, sum as f32)));
        assert_eq!(reciprocal_rank_fusion(&[&a, &b], 60.0, 1).len(), 1);
        assert_eq!(reciprocal_rank_fusion(&[&a, &[]], 60.0, 10).len(), 3);
        assert!(reciprocal_rank_fusion(&[], 60.0, 10).is_empty());
    }

    #[test]
    fn scores_are_scaled_to_their_range_before_they_are_weighted() {
        let (a, b) = (ranking(&[(1, 9.0), (2, 8.0), (3, 5.0)]), ranking(&[(3, -0.5), (5, -0.9)]));
        let fused = weighted_fusion(&[&a, &b], &[0.25, 0.75], 10).unwrap();
        assert_eq!(rows(&fused), [(3, 0.75), (1, 0.25), (2, 0.1875), (5, 0.0)]);
        let equal = ranking(&[(7, 2.0), (8, 2.0)]);
        let fused = weighted_fusion(&[&equal, &[]], &[0.5, 0.5], 10).unwrap();
        assert_eq!(rows(&fused), [(7, 0.5), (8, 0.5)]);
    }

    #[test]
    fn weights_must_fit_the_rankings() {
        for weights in [&[0.5][..], &[0.5, -0.1], &[0.5, f64::NAN], &[0.1, 0.2, 0.3]] {
            let error = weighted_fusion(&[&[], &[]], weights, 10).unwrap_err().to_string();
            assert!(error.contains("2 finite numbers"), "{error}");
        }
    }
}
