use crate::error::Error;
use rankforge_base::{Reporter, Task, silent};
use rankforge_encoder::Outputs;
use rankforge_kernels::ops::{Corpus, Neighbour, Similarity};
use rankforge_kernels::{Buffer, Device, View};
use std::sync::Arc;

/// How [`semantic_search`] searches. The defaults are those of sentence-transformers.
#[derive(Clone, Debug)]
pub struct SemanticSearchOptions {
    /// Number of hits for each query. Default: 10.
    pub top_k: usize,
    /// Number of rows of the corpus that are prepared for a search at a time, which bounds memory.
    /// It does not change the hits. Default: 500,000.
    pub corpus_chunk_size: usize,
    /// How embeddings are compared. Default: by their cosine.
    pub score_function: Similarity,
    /// Receives the progress.
    pub reporter: Arc<dyn Reporter>,
}

impl Default for SemanticSearchOptions {
    fn default() -> SemanticSearchOptions {
        SemanticSearchOptions {
            top_k: 10,
            corpus_chunk_size: 500_000,
            score_function: Similarity::Cosine,
            reporter: silent(),
        }
    }
}

/// The rows of a corpus that are nearest to each query, best first, ties by lower index. Exact.
///
/// Queries are compared in blocks whose scores are never stored as a whole, so that there is no
/// `query_chunk_size`.
///
/// # Shapes
/// `queries`: `Q x E`, `corpus`: `N x E`; the result has `Q` lists of at most `top_k` hits.
///
/// # Errors
/// Other dimensions of queries than of the corpus, or a `top_k` or `corpus_chunk_size` of 0.
///
/// # Examples
/// ```
/// use rankforge::Device;
/// use rankforge::encoder::Outputs;
/// use rankforge::util::{SemanticSearchOptions, semantic_search};
///
/// let corpus = Outputs { rows: 3, columns: 2, values: vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8] };
/// let queries = Outputs { rows: 1, columns: 2, values: vec![0.0, 2.0] };
/// let options = SemanticSearchOptions { top_k: 2, ..SemanticSearchOptions::default() };
/// let hits = semantic_search(&Device::cpu(Some(1))?, &queries, &corpus, &options)?;
/// assert_eq!(hits[0].iter().map(|hit| hit.index).collect::<Vec<_>>(), [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn semantic_search(
    device: &Device,
    queries: &Outputs,
    corpus: &Outputs,
    options: &SemanticSearchOptions,
) -> Result<Vec<Vec<Neighbour>>, Error> {
    let SemanticSearchOptions { top_k, corpus_chunk_size, score_function, .. } = *options;
    for (field, value) in [("top_k", top_k), ("corpus_chunk_size", corpus_chunk_size)] {
        if value == 0 {
            return Err(Error::argument(field, "at least 1", 0));
        }
    }
    let mut hits = vec![Vec::new(); queries.rows];
    if queries.rows == 0 || corpus.rows == 0 {
        return Ok(hits);
    }
    if queries.columns != corpus.columns {
        let expected = format!("queries of {} dimensions, as the corpus has", corpus.columns);
        return Err(Error::argument("query_embeddings", expected, queries.columns));
    }
    let chunks = corpus.rows.div_ceil(corpus_chunk_size);
    let task = Task::begin(&*options.reporter, "Searching", queries.rows * chunks, "queries");
    let queries = Buffer::upload(device, queries.rows, queries.columns, &queries.values);
    for start in (0..corpus.rows).step_by(corpus_chunk_size) {
        let end = corpus.rows.min(start + corpus_chunk_size);
        let values = &corpus.values[start * corpus.columns..end * corpus.columns];
        let rows = OnDevice::new(device, end - start, corpus.columns, values);
        let chunk = Corpus::prepare(score_function, rows.view());
        let found = chunk.top_k(queries.view(), top_k, &|finished| task.advance(finished));
        merge_hits(&mut hits, found, start, top_k);
    }
    Ok(hits)
}

/// Adds the hits of a chunk of a corpus, whose first row has the index `start`, to those of the
/// chunks before it, and keeps the best `top_k` for each query.
pub fn merge_hits(
    hits: &mut [Vec<Neighbour>],
    of_chunk: Vec<Vec<Neighbour>>,
    start: usize,
    top_k: usize,
) {
    for (all, found) in hits.iter_mut().zip(of_chunk) {
        let moved = |hit: Neighbour| Neighbour { index: hit.index + start as u32, ..hit };
        all.extend(found.into_iter().map(moved));
        // Stable, so that ties keep the order of the chunks.
        all.sort_by(|a, b| b.score.total_cmp(&a.score));
        all.truncate(top_k);
    }
}

/// Rows of the host on a device: borrowed where the device can read them.
pub(super) enum OnDevice<'a> {
    Borrowed(View<'a>),
    Copied(Buffer),
}

impl<'a> OnDevice<'a> {
    pub(super) fn new(
        device: &'a Device,
        rows: usize,
        columns: usize,
        values: &'a [f32],
    ) -> OnDevice<'a> {
        if device.shares_host_memory() {
            OnDevice::Borrowed(View::borrowed(device, rows, columns, values))
        } else {
            OnDevice::Copied(Buffer::upload(device, rows, columns, values))
        }
    }

    pub(super) fn view(&self) -> View<'_> {
        match self {
            OnDevice::Borrowed(view) => *view,
            OnDevice::Copied(buffer) => buffer.view(),
        }
    }
}
