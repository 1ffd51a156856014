//! Integration tests of rankforge.

mod arguments;
mod evaluation;
mod losses;
mod mining;
mod model_card;
mod resume;
mod samplers;
mod schedule;
mod support;
mod testing;
mod training;
