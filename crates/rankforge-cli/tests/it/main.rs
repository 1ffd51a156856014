//! Integration tests of rankforge-cli.
