//! BM25 as in Lucene: `k1 = 1.2`, `b = 0.75`, over an inverted index by tantivy.
//!
//! # Paper
//! Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".

mod files;
mod index;
mod language;
mod part;
mod query;
mod ranking;

pub(crate) use files::write_part;
pub use index::Bm25Index;
pub(crate) use index::PART_ROWS;
pub use language::{Language, UnknownLanguage};
