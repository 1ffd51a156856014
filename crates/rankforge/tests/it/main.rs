//! Integration tests of rankforge.
