//! Integration tests of rankforge-kernels.

mod activation;
mod attention;
mod columns;
mod contrast;
mod dropout;
mod elementwise;
mod embedding;
mod linear;
mod memory;
mod norm;
mod optimizer;
mod packed_weight;
mod pooling;
mod precision;
mod rotary;
mod stored;
mod support;
mod top_k;
mod top_k_by_bytes;
mod update;
