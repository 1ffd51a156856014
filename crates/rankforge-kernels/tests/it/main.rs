//! Integration tests of rankforge-kernels.

mod attention;
mod dropout;
mod embedding;
mod linear;
mod pooling;
mod support;
mod top_k;
