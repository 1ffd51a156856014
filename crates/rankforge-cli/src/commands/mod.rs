//! The commands, one file each.

pub(crate) mod annotate;
pub(crate) mod community_detection;
pub(crate) mod compare;
pub(crate) mod completions;
pub(crate) mod data;
pub(crate) mod distill_static;
pub(crate) mod download;
pub(crate) mod encode;
pub(crate) mod evaluate;
pub(crate) mod export_index;
pub(crate) mod index;
pub(crate) mod info;
pub(crate) mod lint;
pub(crate) mod man;
pub(crate) mod merge_adapter;
pub(crate) mod mine;
mod mining_flags;
pub(crate) mod paraphrase_mining;
pub(crate) mod predict;
pub(crate) mod quickstart;
pub(crate) mod rank;
pub(crate) mod search;
pub(crate) mod semantic_search;
pub(crate) mod serve;
pub(crate) mod train;
