//! Making and changing indexes.

mod append;
mod bm25;
mod delete;
mod folder;
mod options;
mod scan;
mod state;

pub(crate) use append::existing;
pub use append::{append_to_index, build_index};
pub use delete::delete_from_index;
pub(crate) use folder::part_folder;
pub use options::{BuildOptions, BuildReport, Embedder};
