//! Retrieval: documents are embedded once and searched by query. Mining and evaluation share it.

use crate::error::Error;
use rankforge_base::Task;
use rankforge_encoder::{Embed, EncodeOptions, Outputs, Side};
use rankforge_kernels::ops::{Corpus, Neighbour, gather, pairwise_similarity};
use rankforge_kernels::{Buffer, Device, Indices, View};

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
        Ok(Retriever::over(encoder, to_device(encoder.device(), embeddings)))
    }

    /// Searches documents whose embeddings by `encoder` are given: `D x E`, on its device.
    pub(crate) fn over(encoder: &'a dyn Embed, embeddings: Buffer) -> Retriever<'a> {
        Retriever { encoder, corpus: Corpus::prepare(encoder.similarity(), embeddings) }
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
        let embeddings = to_device(self.encoder.device(), embeddings);
        let task = Task::begin(&*options.reporter, "Searching", queries.len(), "queries");
        Ok(self.nearest(embeddings.view(), k, &task))
    }

    /// [`Retriever::search`] for the embeddings of queries, `Q x E`; advances `task` by a query at
    /// a time.
    pub(crate) fn nearest(
        &self,
        queries: View<'_>,
        k: usize,
        task: &Task<'_>,
    ) -> Vec<Vec<Neighbour>> {
        self.corpus.top_k(queries, k, &|finished| task.advance(finished))
    }

    /// Similarity of each row of `queries` with a document of the same place in `documents`, which
    /// are indices. `queries` is `N x E`.
    pub(crate) fn similarities(&self, queries: View<'_>, documents: &[u32]) -> Vec<f32> {
        let documents = gather_rows(self.corpus.view(), documents);
        pairwise_similarity(self.corpus.similarity(), queries, documents.view())
    }
}

/// The rows of a matrix with these indices, on its device.
pub(crate) fn gather_rows(source: View<'_>, indices: &[u32]) -> Buffer {
    let device = source.device();
    let mut target = Buffer::zeros(device, indices.len(), source.columns());
    gather(source, &Indices::new(device, indices), false, target.view_mut());
    target
}

/// Embeddings as a matrix on the device that compares them.
pub(crate) fn to_device(device: &Device, outputs: Outputs) -> Buffer {
    let Outputs { rows, columns, values } = outputs;
    Buffer::from_vec(device, rows, columns, values)
}
