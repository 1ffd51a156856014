//! Integration tests of rankforge-encoder.
