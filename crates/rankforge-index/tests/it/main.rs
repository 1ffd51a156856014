//! Integration tests of rankforge-index.

mod bm25;
mod building;
mod damage;
mod searching;
mod support;
