//! Integration tests of rankforge.

mod evaluation;
mod losses;
mod support;
