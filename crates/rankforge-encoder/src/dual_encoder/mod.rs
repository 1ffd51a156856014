//! Dual encoders: opening their directories, and embedding texts.

mod encoder;
mod load;
mod static_embedding;

pub use encoder::DualEncoder;
pub(crate) use load::open_transformer;
