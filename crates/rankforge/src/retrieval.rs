//! Retrieval: texts embedded on one side, searched from the other. Mining, evaluation and search
//! share it.

use crate::error::Error;
use rankforge_base::Task;
use rankforge_encoder::{Embed, EncodeOptions, Outputs, Side};
use rankforge_kernels::Buffer;
use rankforge_kernels::ops::{Corpus, Neighbour};

/// Documents that can be searched by query: their embeddings, prepared once.
pub struct Retriever<'a> {
    encoder: &'a dyn Embed,
    corpus: Corpus<'static>,
}

impl<'a> Retriever<'a> {
    /// Embeds `documents` with the document prompt of the encoder.
    ///
    /// # Errors
    /// What the encoder refuses.
    pub fn new(
        encoder: &'a dyn Embed,
        documents: &[&str],
        options: &EncodeOptions,
    ) -> Result<Retriever<'a>, Error> {
        let embeddings = encoder.embed(Side::Document, documents, options)?;
        let corpus = Corpus::prepare(encoder.similarity(), to_device(encoder, embeddings));
        Ok(Retriever { encoder, corpus })
    }

    /// The `k` documents nearest to each query, best first, ties by lower index; fewer when there
    /// are fewer documents.
    ///
    /// # Errors
    /// What the encoder refuses.
    pub fn search(
        &self,
        queries: &[&str],
        k: usize,
        options: &EncodeOptions,
    ) -> Result<Vec<Vec<Neighbour>>, Error> {
        let embeddings = self.encoder.embed(Side::Query, queries, options)?;
        let embeddings = to_device(self.encoder, embeddings);
        let task = Task::begin(&*options.reporter, "Searching", queries.len(), "queries");
        Ok(self.corpus.top_k(embeddings.view(), k, &|count| task.advance(count)))
    }
}

/// Embeddings as a matrix on the device that compares them.
pub(crate) fn to_device(encoder: &dyn Embed, outputs: Outputs) -> Buffer {
    let Outputs { rows, columns, values } = outputs;
    Buffer::from_vec(encoder.device(), rows, columns, values)
}
