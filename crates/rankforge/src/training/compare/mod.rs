//! Runs side by side.

mod comparison;
mod page;
mod run_summary;

pub use comparison::{Comparison, ComparisonRow};
pub use run_summary::RunSummary;
