//! The documents that a dual encoder retrieves for queries.

use crate::error::Error;
use crate::evaluation::dual_encoder::embeddings::check_dimension;
use crate::retrieval::to_device;
use crate::util::merge_hits;
use rankforge_base::Task;
use rankforge_encoder::{Embed, EncodeOptions, Side};
use rankforge_kernels::ops::{Corpus, Neighbour, Similarity};

/// A search of queries in a corpus.
pub(super) struct Search<'a> {
    pub(super) queries: Vec<&'a str>,
    pub(super) corpus: Vec<&'a str>,
    /// Number of documents for each query.
    pub(super) top_k: usize,
    /// Number of documents that are embedded and searched at a time.
    pub(super) corpus_chunk_size: usize,
    pub(super) of_queries: EncodeOptions,
    pub(super) of_corpus: EncodeOptions,
}

impl Search<'_> {
    /// The best documents of each query for each of `functions`, best first, ties by lower index.
    ///
    /// # Errors
    /// What the model refuses.
    pub(super) fn run<E: Embed + ?Sized>(
        &self,
        model: &E,
        functions: &[Similarity],
    ) -> Result<Vec<Vec<Vec<Neighbour>>>, Error> {
        let queries = model.embed(Side::Query, &self.queries, &self.of_queries)?;
        check_dimension(self.of_queries.truncate_dim, &queries)?;
        let queries = to_device(model.device(), queries);
        let mut hits = vec![vec![Vec::new(); self.queries.len()]; functions.len()];
        let mut start = 0;
        for chunk in self.corpus.chunks(self.corpus_chunk_size) {
            let documents = model.embed(Side::Document, chunk, &self.of_corpus)?;
            let documents = to_device(model.device(), documents);
            let reporter = &*self.of_queries.reporter;
            let total = queries.rows() * functions.len();
            let task = Task::begin(reporter, "Searching", total, "queries");
            for (function, hits) in functions.iter().zip(&mut hits) {
                let corpus = Corpus::prepare(*function, documents.view());
                let done = |finished| task.advance(finished);
                let found = corpus.top_k(queries.view(), self.top_k, &done);
                merge_hits(hits, found, start, self.top_k);
            }
            start += chunk.len();
        }
        Ok(hits)
    }
}
