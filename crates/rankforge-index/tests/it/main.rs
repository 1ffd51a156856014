//! Integration tests of rankforge-index.

mod bm25;
