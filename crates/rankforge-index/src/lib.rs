//! Indexes of texts: BM25 over an inverted index, and the fusion of rankings.
#![forbid(unsafe_code)]

pub mod bm25;
mod error;
pub mod fusion;

pub use error::IndexError;
