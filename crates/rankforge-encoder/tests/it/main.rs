//! Integration tests of rankforge-encoder.

mod families;
mod fixture;
mod gradients;
mod transformer;
mod weights;
