//! Files of tensors: reading `model.safetensors` and its shards, and writing it.

mod header;
mod names;
mod numbers;
mod reading;
mod writing;

pub(crate) use names::{Names, unwrapped};
pub use reading::Weights;
pub(crate) use writing::{BLOCK, save};
