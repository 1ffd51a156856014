//! Integration tests of rankforge.

mod evaluation;
mod losses;
mod mining;
mod support;
