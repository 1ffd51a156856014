//! Hard negative mining: for each query of a table of pairs, the nearest texts that are not its
//! answers.

mod cache;
mod file;
mod log;
mod miner;
mod options;
mod outcome;
mod pairs;
mod report;
mod rows;
mod search;
mod settings;

pub use file::MinedFile;
pub use miner::{HardNegativeMiner, mine_hard_negatives};
pub use options::{MiningField, MiningOptions, OutputFormat, SamplingStrategy};
pub use outcome::{Mined, Skipped, Statistics, Summary};
