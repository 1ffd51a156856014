//! A cascade measured as one: the first stages and what a reranker makes of them at several depths,
//! side by side.
//!
//! A [`Collection`] takes what a first stage finds ([`Collection::retrieve`], by a closure, so that
//! it may be anything), a [`Reranker`] orders the best few of each query again, and a
//! [`CascadeReport`] has the metrics and times of all of these [`Stage`]s, and how sure their
//! differences are. [`Stage::by_id`] is a stage as run files have it, [`html_report`] writes all of
//! it as a page.
//!
//! Metrics are those of trec_eval, and so of BEIR: the gain of NDCG is the grade of a document
//! (not `2^grade - 1`), all others count every grade above 0 as relevant. A relevant document that
//! the corpus lacks counts as missed; queries without a relevant document are left out of all
//! means.

mod bootstrap;
mod collection;
mod page;
mod plot;
mod report;
mod rerank;
mod retrieve;
mod stage;

pub use crate::evaluation::changes::{Change, ChangedQuery, Passage};
pub use bootstrap::BootstrapOptions;
pub use collection::Collection;
pub use page::{PageText, html_report};
pub use rankforge_kernels::ops::Neighbour;
pub use report::{CascadeOptions, CascadeReport, Difference, StageReport, TimePerQuery};
pub use rerank::Reranker;
pub use stage::{Clock, Stage};
