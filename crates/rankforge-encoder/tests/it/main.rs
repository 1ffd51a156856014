//! Integration tests of rankforge-encoder.

mod common;
mod encode;
mod families;
mod fixture;
mod gradients;
mod half_precision;
mod layouts;
mod predict;
mod tokenizer;
mod transformer;
mod weights;
mod words;
