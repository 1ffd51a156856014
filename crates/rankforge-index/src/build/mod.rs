//! Making and changing indexes.

mod append;
mod bm25;
mod delete;
mod folder;
mod options;
mod scan;
mod state;

pub use append::{append_to_index, build_index};
pub(crate) use append::{claim_existing, existing};
pub(crate) use bm25::build_parts;
pub use delete::delete_from_index;
pub(crate) use folder::{INDEX_DIRECTORY, part_folder};
pub use options::{BuildOptions, BuildReport, Embedder};
pub(crate) use state::State;
