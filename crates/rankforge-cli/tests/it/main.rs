//! Integration tests of rankforge-cli.

mod edges;
mod pipeline;
mod serving;
mod support;
mod training;
mod usage;
