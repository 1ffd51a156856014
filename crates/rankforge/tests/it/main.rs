//! Integration tests of rankforge.

mod arguments;
mod evaluation;
mod losses;
mod mining;
mod samplers;
mod schedule;
mod support;
