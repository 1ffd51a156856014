use crate::error::IndexError;
use crate::index::Index;
use rankforge_base::Task;
use rankforge_encoder::{PredictOptions, Score};
use rankforge_kernels::ops::Neighbour;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// Pairs of a query and a text whose texts are in memory at a time.
const PAIRS: usize = 16_384;

/// Orders the rows of each query by the scores of `model`, best first, ties in the order that the
/// rows have. The pairs of many queries share batches.
///
/// # Errors
/// When a row cannot be read, or the model refuses a pair.
///
/// # Panics
/// When there are more or fewer rankings than queries.
pub fn rerank(
    index: &Index,
    model: &dyn Score,
    queries: &[&str],
    rankings: &[Vec<Neighbour>],
    options: &PredictOptions,
) -> Result<Vec<Vec<Neighbour>>, IndexError> {
    assert_eq!(queries.len(), rankings.len(), "queries and rankings");
    let mut pairs: Vec<(usize, Neighbour)> = Vec::new();
    for (query, ranking) in rankings.iter().enumerate() {
        pairs.extend(ranking.iter().map(|row| (query, *row)));
    }
    let mut reranked = vec![Vec::new(); queries.len()];
    let task = Task::begin(&*options.reporter, "Reranking", pairs.len(), "pairs");
    for pairs in pairs.chunks(PAIRS) {
        let mut texts = BTreeMap::new();
        for (_, row) in pairs {
            if let Entry::Vacant(entry) = texts.entry(row.index) {
                entry.insert(index.row(row.index as usize)?.text);
            }
        }
        let scored: Vec<(&str, &str)> =
            pairs.iter().map(|(query, row)| (queries[*query], &*texts[&row.index])).collect();
        let scores = model.score(&scored, options)?;
        for ((query, row), score) in pairs.iter().zip(scores) {
            reranked[*query].push(Neighbour { score, ..*row });
        }
        task.advance(pairs.len());
    }
    for ranking in &mut reranked {
        // Stable: equal scores keep their order.
        ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
    }
    Ok(reranked)
}
