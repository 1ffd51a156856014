//! The model card: a README.md that describes a model, its use, its training data and its
//! evaluation, in the sections of sentence-transformers' model cards.

mod architecture;
mod card;
mod data;
mod dataset;
mod front_matter;
mod names;
mod tables;
mod usage;

pub use architecture::adapter_in_words;
pub use card::render;
pub use data::{DatasetName, ModelCardData, ReportedSet, Timing, TrainingReport};
pub use tables::EvaluationResult;
