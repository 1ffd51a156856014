//! Integration tests of rankforge-index.

mod bm25;
mod building;
mod compacting;
mod damage;
mod searching;
mod support;
