//! Training recipes.

mod document;

pub(crate) use document::Document;
