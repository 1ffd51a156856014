//! Integration tests of rankforge-cli.

mod edges;
