//! Train, mine for, evaluate and use the two models of a retrieval cascade: the dual encoder that
//! finds candidates and the reranker that orders the best few.
#![forbid(unsafe_code)]

pub mod evaluation;
pub mod losses;
mod metrics;
pub mod mining;
pub mod model_card;
pub mod training;

mod error;
mod files;

pub use error::Error;
pub use metrics::Metrics;
pub use rankforge_data as data;
pub use rankforge_encoder as encoder;
pub use rankforge_kernels::{Device, Isa};
