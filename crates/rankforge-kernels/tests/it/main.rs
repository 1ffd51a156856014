//! Integration tests of rankforge-kernels.

mod attention;
mod dropout;
mod support;
