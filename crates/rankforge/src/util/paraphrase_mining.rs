use crate::error::Error;
use crate::util::semantic_search::OnDevice;
use rankforge_base::{Reporter, Task, silent};
use rankforge_encoder::Outputs;
use rankforge_kernels::Device;
use rankforge_kernels::ops::{Corpus, Similarity};
use std::sync::Arc;

/// How [`paraphrase_mining`] searches. The defaults are those of sentence-transformers.
#[derive(Clone, Debug)]
pub struct ParaphraseOptions {
    /// Number of texts whose neighbours are searched at a time, which bounds memory. It does not
    /// change the pairs. Default: 5,000.
    pub query_chunk_size: usize,
    /// Maximum number of pairs. Default: 500,000.
    pub max_pairs: usize,
    /// Number of nearest texts of each text that can be its paraphrases. Default: 100.
    pub top_k: usize,
    /// How embeddings are compared. Default: by their cosine.
    pub score_function: Similarity,
    /// Receives the progress.
    pub reporter: Arc<dyn Reporter>,
}

impl Default for ParaphraseOptions {
    fn default() -> ParaphraseOptions {
        ParaphraseOptions {
            query_chunk_size: 5_000,
            max_pairs: 500_000,
            top_k: 100,
            score_function: Similarity::Cosine,
            reporter: silent(),
        }
    }
}

/// Two rows and their similarity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParaphrasePair {
    /// Their similarity.
    pub score: f32,
    /// The row with the lower index.
    pub first: u32,
    /// The other row.
    pub second: u32,
}

/// The most similar pairs of rows, best first, ties by lower indices. A pair is found when one of
/// its rows is among the `top_k` nearest of the other.
///
/// The corpus is searched as a whole, without a matrix of scores, so that there is no
/// `corpus_chunk_size`.
///
/// # Shapes
/// `embeddings`: `N x E`.
///
/// # Errors
/// A `query_chunk_size`, `max_pairs` or `top_k` of 0.
///
/// # Examples
/// ```
/// use rankforge::Device;
/// use rankforge::encoder::Outputs;
/// use rankforge::util::{ParaphraseOptions, paraphrase_mining};
///
/// let values = vec![1.0, 0.0, 0.0, 1.0, 0.9, 0.1];
/// let embeddings = Outputs { rows: 3, columns: 2, values };
/// let options = ParaphraseOptions { top_k: 1, ..ParaphraseOptions::default() };
/// let pairs = paraphrase_mining(&Device::cpu(Some(1))?, &embeddings, &options)?;
/// assert_eq!((pairs[0].first, pairs[0].second), (0, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn paraphrase_mining(
    device: &Device,
    embeddings: &Outputs,
    options: &ParaphraseOptions,
) -> Result<Vec<ParaphrasePair>, Error> {
    let ParaphraseOptions { query_chunk_size, max_pairs, top_k, score_function, .. } = *options;
    let counts =
        [("query_chunk_size", query_chunk_size), ("max_pairs", max_pairs), ("top_k", top_k)];
    for (field, value) in counts {
        if value == 0 {
            return Err(Error::argument(field, "at least 1", 0));
        }
    }
    let task = Task::begin(&*options.reporter, "Finding paraphrases", embeddings.rows, "texts");
    let rows = OnDevice::new(device, embeddings.rows, embeddings.columns, &embeddings.values);
    let corpus = Corpus::prepare(score_function, rows.view());
    let mut pairs = Pairs::new(max_pairs);
    for start in (0..embeddings.rows).step_by(query_chunk_size) {
        let end = embeddings.rows.min(start + query_chunk_size);
        let queries = rows.view().slice_rows(start..end);
        // A text is its own neighbour.
        let found = corpus.top_k(queries, top_k.saturating_add(1), &|done| task.advance(done));
        for (row, neighbours) in (start as u32..).zip(found) {
            let others = neighbours.into_iter().filter(|other| other.index != row).take(top_k);
            pairs.add(others.map(|other| ParaphrasePair {
                score: other.score,
                first: row.min(other.index),
                second: row.max(other.index),
            }));
        }
    }
    Ok(pairs.best())
}

/// The best distinct pairs so far, among others that are dropped from time to time.
struct Pairs {
    pairs: Vec<ParaphrasePair>,
    max_pairs: usize,
    /// Number of pairs at which the worst and the repeated ones are dropped.
    limit: usize,
}

impl Pairs {
    fn new(max_pairs: usize) -> Pairs {
        Pairs { pairs: Vec::new(), max_pairs, limit: max_pairs.saturating_mul(4).max(1 << 16) }
    }

    fn add(&mut self, more: impl Iterator<Item = ParaphrasePair>) {
        self.pairs.extend(more);
        if self.pairs.len() >= self.limit {
            self.reduce();
        }
    }

    /// Sorts the pairs, best first, and keeps each of the best `max_pairs` once.
    fn reduce(&mut self) {
        let order = |a: &ParaphrasePair, b: &ParaphrasePair| {
            let indices = (a.first, a.second).cmp(&(b.first, b.second));
            b.score.total_cmp(&a.score).then(indices)
        };
        // Both rows of a pair may have found it, with the same score.
        self.pairs.sort_unstable_by(order);
        self.pairs.dedup_by_key(|pair| (pair.first, pair.second));
        self.pairs.truncate(self.max_pairs);
    }

    fn best(mut self) -> Vec<ParaphrasePair> {
        self.reduce();
        self.pairs
    }
}
