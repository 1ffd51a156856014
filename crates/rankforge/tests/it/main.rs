//! Integration tests of rankforge.

mod losses;
