//! Integration tests of rankforge-cli.

mod edges;
mod pipeline;
mod support;
mod training;
mod usage;
