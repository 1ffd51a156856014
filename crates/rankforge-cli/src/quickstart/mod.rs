//! The parts of `rankforge quickstart`: the embedded collection, the untrained reranker, the two
//! trainings and the cascade.

pub(crate) mod cascade;
pub(crate) mod collection;
pub(crate) mod matching;
pub(crate) mod training;
