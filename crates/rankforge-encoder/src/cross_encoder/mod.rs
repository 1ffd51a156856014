//! Cross-encoders: opening their directories, and scoring pairs of texts.

mod encoder;
mod load;

pub use encoder::{CrossEncoder, Ranked};
