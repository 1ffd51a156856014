//! Indexes of texts in a directory: texts and metadata, vectors for exact dense search, and an
//! inverted index for BM25; the fusion of rankings, and reranking.
//!
//! | to | call |
//! |---|---|
//! | build an index | [`build_index`] |
//! | change it | [`append_to_index`], [`delete_from_index`] |
//! | search it | [`Index::search_dense`], [`Index::search_bm25`], [`fusion`], [`rerank`] |
//! | give it to another engine | [`export_parquet`], [`export_npy`] |
//! | search texts in memory by words | [`bm25::Bm25Index::in_memory`] |
//!
//! `docs/INDEX.md` describes the files. This crate contains no losses, no training and no metrics.
#![forbid(unsafe_code)]

mod append_file;
pub mod bm25;
mod build;
mod compact;
mod corpus;
mod error;
mod export;
pub mod fusion;
mod ids;
mod index;
mod manifest;
mod rerank;
mod rows;
mod store;
mod trec;
mod vectors;
mod verify;

pub use build::{
    BuildOptions, BuildReport, Embedder, append_to_index, build_index, delete_from_index,
};
pub use compact::{Compacted, compact_index};
pub use corpus::CorpusSource;
pub use error::IndexError;
pub use export::{export_npy, export_parquet};
pub use index::Index;
pub use manifest::{Block, Bm25Entry, Extent, Manifest, ModelEntry, PartEntry, VectorsEntry};
pub use rankforge_kernels::ops::Neighbour;
pub use rerank::rerank;
pub use rows::Row;
pub use store::{Store, UnknownStore};
pub use trec::{RankedQuery, write_run};
