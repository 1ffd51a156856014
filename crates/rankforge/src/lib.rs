//! Train, mine for, evaluate and use the two models of a retrieval cascade: the dual encoder that
//! finds candidates and the reranker that orders the best few.
//!
//! | to | start with |
//! |---|---|
//! | open a model and use it | [`encoder::CrossEncoder`], [`encoder::DualEncoder`] |
//! | read rows | [`data::load_rows`] |
//! | find hard negatives | [`mining::mine_hard_negatives`] |
//! | train | [`training::Trainer`], [`losses`], [`evaluation`] |
//! | run what a TOML file says | [`recipe::Recipe`] |
//! | search a collection | [`retrieval::Retriever`] |
//! | search, pair, group or quantise embeddings | [`util`] |
//!
//! `examples/` has a whole program for each, and a loss and an evaluator of one's own.
#![forbid(unsafe_code)]

pub mod arguments;
mod error;
pub mod evaluation;
mod finite_scores;
mod label_columns;
pub mod lint;
pub mod losses;
mod metrics;
pub mod mining;
pub mod model_card;
mod page;
pub mod recipe;
pub mod retrieval;
mod similarity_of_pair;
mod trainer_state;
pub mod training;
pub mod util;
mod value_types;
mod words;

pub use error::{Error, NotFinite, RowPlace, SetRows};
pub use metrics::Metrics;
pub use rankforge_base as base;
pub use rankforge_data as data;
pub use rankforge_encoder as encoder;
pub use rankforge_kernels::{Device, Isa, Precision, UnknownPrecision, Workers};
pub use rankforge_trackers as trackers;

/// The README, whose example is compiled as a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub struct Readme;
