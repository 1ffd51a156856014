//! Integration tests of rankforge-cli.

mod annotating;
mod cascade;
mod classifying;
mod data_sets;
mod distilling;
mod dual_evaluation;
mod dual_training;
mod edges;
mod errors;
mod faithful;
mod help;
mod imports;
mod indexes;
mod input_files;
mod linting;
mod merging;
mod messages;
mod outputs;
mod pipeline;
mod serving;
mod several_sets;
mod shell;
mod snapshot;
mod support;
mod training;
mod usage;
