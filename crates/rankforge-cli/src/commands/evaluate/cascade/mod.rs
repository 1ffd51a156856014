//! `rankforge evaluate cascade`: first stages and a reranker, measured as one.

mod args;
mod first_stages;
mod index_search;
mod output;
mod plan;
mod run;

pub(super) use args::CascadeArgs;
pub(super) use run::run;
