//! Integration tests of rankforge.

mod arguments;
mod evaluating;
mod evaluation;
mod failures;
mod gradients;
mod half_precision;
mod losses;
mod mining;
mod model_card;
mod optimizer;
mod resume;
mod samplers;
mod schedule;
mod support;
mod testing;
mod training;
