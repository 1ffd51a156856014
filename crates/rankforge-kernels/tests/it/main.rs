//! Integration tests of rankforge-kernels.

mod dropout;
mod support;
