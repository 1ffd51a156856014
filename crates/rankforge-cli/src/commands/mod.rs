//! The subcommands, one file each.

pub(crate) mod encode;
pub(crate) mod info;
pub(crate) mod mine;
pub(crate) mod predict;
pub(crate) mod rank;
