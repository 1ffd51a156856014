//! The commands, one file each.

pub(crate) mod annotate;
pub(crate) mod completions;
pub(crate) mod encode;
pub(crate) mod evaluate;
pub(crate) mod info;
pub(crate) mod man;
pub(crate) mod mine;
mod mining_flags;
pub(crate) mod predict;
pub(crate) mod quickstart;
pub(crate) mod rank;
pub(crate) mod serve;
pub(crate) mod train;
