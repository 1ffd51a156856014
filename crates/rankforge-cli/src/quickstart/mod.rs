//! The parts of `rankforge quickstart`: the embedded collection, the untrained reranker and the two
//! trainings.

pub(crate) mod collection;
pub(crate) mod matching;
pub(crate) mod training;
