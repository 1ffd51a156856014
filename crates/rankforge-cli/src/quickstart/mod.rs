//! What `rankforge quickstart` works with: a small collection and two models made from nothing.

mod collection;
mod matching;
mod training;

pub(crate) use collection::Collection;
pub(crate) use matching::untrained_reranker;
pub(crate) use training::{NEGATIVES, Setting, train_first_stage, train_reranker};
