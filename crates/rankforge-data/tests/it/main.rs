//! Integration tests of rankforge-data.
