use crate::bm25::Language;
use crate::error::IndexError;
use crate::manifest::{ModelEntry, VectorsEntry};
use crate::store::Store;
use rankforge_base::{Reporter, Stop, silent};
use rankforge_encoder::{Embed, EncodeOptions, Side};
use rankforge_kernels::Workers;
use rankforge_kernels::ops::ByteRows;
use std::sync::Arc;

/// A model that turns texts into vectors, and how.
pub struct Embedder<'a> {
    /// The model.
    pub encoder: &'a dyn Embed,
    /// Where it is from, so that a search can open it.
    pub model: ModelEntry,
    /// Batches, prompts, truncation and normalisation of the texts. The reporter of the build is
    /// used in place of its own.
    pub options: EncodeOptions,
}

/// How an index is built or appended to.
pub struct BuildOptions {
    /// How vectors are stored. Appending uses that of the index.
    pub store: Store,
    /// How texts become words for BM25; `None` builds no inverted index. Appending uses that of the
    /// index.
    pub bm25: Option<Language>,
    /// Whether what an interrupted run left is discarded instead of continued.
    pub restart: bool,
    /// Number of rows that are read, embedded and written at a time; what a killed run loses at
    /// most, and what bounds memory.
    pub block_rows: usize,
    /// Threads that build the inverted index.
    pub workers: Workers,
    /// Receives progress and warnings.
    pub reporter: Arc<dyn Reporter>,
    /// A request to stop after the current block.
    pub stop: Stop,
}

/// What a build did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildReport {
    /// Number of rows of the index that are not deleted.
    pub rows: usize,
    /// Number of rows that this run has added.
    pub added: usize,
    /// Number of rows that an interrupted run had added before.
    pub continued: usize,
}

impl BuildOptions {
    /// Rows of a block, by default: enough for texts of similar length to share batches.
    pub const BLOCK_ROWS: usize = 8192;

    /// Vectors as `f32` and no inverted index.
    pub fn new(workers: Workers) -> BuildOptions {
        BuildOptions {
            store: Store::default(),
            bm25: None,
            restart: false,
            block_rows: BuildOptions::BLOCK_ROWS,
            workers,
            reporter: silent(),
            stop: Stop::default(),
        }
    }
}

impl Embedder<'_> {
    /// The entry of the manifest for vectors of this model.
    pub(super) fn entry(&self, store: Store) -> Result<VectorsEntry, IndexError> {
        // The dimension is that of an embedding, as a cache or a remote service may play the model.
        let probe = self.encoder.embed(Side::Document, &[""], &self.options)?;
        Ok(VectorsEntry {
            model: self.model.clone(),
            fingerprint: self.encoder.fingerprint()?,
            dimension: probe.columns,
            similarity: self.encoder.similarity().name().to_owned(),
            store: store.to_string(),
            normalize_embeddings: self.options.normalize_embeddings,
            truncate_dim: self.options.truncate_dim,
            prompt: self.options.prompt.clone(),
            prompt_name: self.options.prompt_name.clone(),
            bytes_version: ByteRows::VERSION,
        })
    }
}
