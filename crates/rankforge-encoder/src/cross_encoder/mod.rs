//! Cross-encoders: opening their directories, and scoring pairs of texts.

mod encoder;
mod labels;
mod load;

pub use encoder::{CrossEncoder, Ranked};
