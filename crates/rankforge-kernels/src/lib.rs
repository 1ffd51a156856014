//! Numerics of one transformer family on ragged batches: a closed list of operations on opaque
//! buffer handles, each with its backward beside it.
//!
//! Model code calls the functions in [`ops`] on [`View`]s of [`Buffer`]s and [`Arena`]s and never
//! indexes into them; the handle carries its [`Device`], so another device can implement the same
//! list later. Nothing here knows of text, files, models or losses.
//!
//! # Conventions
//! - Matrices are row-major `rows x columns`, last index contiguous, `f32`.
//! - Letters in `# Shapes`: `B` texts, `T` tokens in the ragged batch, `L` longest text, `H` hidden,
//!   `A` heads, `D` head dimension, `F` MLP width, `E` embedding dimension, `N` candidates, `V` vocabulary.
//! - `x_backward` takes the output gradient first. Gradients of parameters are always accumulated
//!   (`+=`); gradients of activations are overwritten unless the docs say otherwise.
//! - Same inputs, same instruction set: same bits, whatever the number of threads.
//! - Shape mistakes are bugs of the caller and panic with both shapes.

mod arena;
mod buffer;
mod device;
mod indices;
mod isa;
mod math;
mod micro;
pub mod ops;
mod pack;
mod parallel;
mod peak;
mod precision;
mod product;
mod ragged;
mod simd;
mod tile;
mod weight;
mod workers;

pub use arena::{Arena, ArenaEntry, ArenaLayout, ParameterId};
pub use buffer::{Buffer, View, ViewMut};
pub use device::{Device, DeviceError};
pub use indices::Indices;
pub use isa::Isa;
pub use peak::{Arithmetic, peak};
pub use precision::{Precision, UnknownPrecision};
pub use ragged::Ragged;
pub use weight::{PackedWeight, Weight};
pub use workers::Workers;
