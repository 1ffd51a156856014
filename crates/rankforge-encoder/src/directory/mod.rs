//! Model directories: reading and writing their files.

mod adapter;
mod completeness;
pub(crate) mod kind;
pub(crate) mod module_config;
pub(crate) mod modules;
pub(crate) mod parameters;
pub(crate) mod settings;
pub(crate) mod transformer_files;
pub(crate) mod write;
