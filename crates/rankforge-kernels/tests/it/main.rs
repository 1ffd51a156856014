//! Integration tests of rankforge-kernels.
