//! Static embedding models from a teacher, as model2vec makes them: each token of a vocabulary goes
//! through the teacher, principal components reduce the width, and Zipf's law weighs the tokens.

mod distill;
mod merges;
mod principal_components;
mod vocabulary;

pub use distill::{DistillOptions, Distilled, distill_static};
