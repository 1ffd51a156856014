//! The model card: a README.md that says what a model is, how to use it, what it was trained on and
//! how it was evaluated, with the sections of sentence-transformers' cards.

mod architecture;
mod card;
mod data;
mod dataset;
mod front_matter;
mod names;
mod tables;
mod usage;

pub use card::render;
pub use data::{DatasetName, ModelCardData, ReportedSet, Timing, TrainingReport};
pub use tables::EvaluationResult;
