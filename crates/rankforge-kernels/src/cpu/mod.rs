//! The CPU device: kernels over host slices, for each instruction set, on the workers' threads.
//!
//! `ops` checks shapes and calls the function of the same name here. Imports point one way:
//! operations use `matmul` and `parallel`, these use `simd` and `math`, and nothing here knows of
//! views, buffers or devices.

pub(crate) mod activation;
pub(crate) mod adafactor;
pub(crate) mod attention;
mod block_sums;
mod caches;
pub(crate) mod columns;
pub(crate) mod contrast;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod fill;
pub(crate) mod linear;
pub(crate) mod machine;
mod math;
pub(crate) mod matmul;
pub(crate) mod matrix;
pub(crate) mod memory;
pub(crate) mod norm;
pub(crate) mod optimizer;
mod parallel;
pub(crate) mod peak;
pub(crate) mod pooling;
pub(crate) mod rotary;
pub(crate) mod sequences;
mod simd;
pub(crate) mod top_k;
pub(crate) mod update;
