//! The reference device: every operation as plain scalar loops in `f64`, to be read.
//!
//! A file here says what the operation of the same name computes, as a formula and as the loops
//! that compute it; a new device is written from it and passes the same tests. Elements are loaded
//! from memory of the device's own ([`memory`]), sums and functions are `f64`, and each result is
//! rounded once, when it is stored as `f32`. Where the contract rounds more often (operands of a
//! product in half precision, a sum that is accumulated in memory) the loops do so too.
//!
//! Nothing here is shared with the CPU device. The settings of an operation come from `settings`,
//! and with them the functions that every device must agree on: the mixer of dropout keys, the
//! buckets of relative positions and the order of neighbours.

pub(crate) mod activation;
pub(crate) mod adafactor;
pub(crate) mod attention;
pub(crate) mod columns;
pub(crate) mod contrast;
pub(crate) mod dropout;
pub(crate) mod elementwise;
pub(crate) mod embedding;
pub(crate) mod linear;
pub(crate) mod matrix;
pub(crate) mod memory;
pub(crate) mod norm;
pub(crate) mod optimizer;
pub(crate) mod pooling;
pub(crate) mod rotary;
mod rounding;
pub(crate) mod top_k;
pub(crate) mod update;

use crate::workers::Workers;

/// The device: its host threads, which compute nothing.
pub(crate) struct Reference {
    pub(crate) workers: Workers,
}
