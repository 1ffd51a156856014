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
mod cpu;
mod device;
mod error;
mod indices;
mod isa;
pub mod ops;
mod peak;
mod precision;
mod ragged;
mod reference;
mod settings;
mod storage;
mod view;
mod weight;
mod workers;

pub use arena::{Arena, ArenaEntry, ArenaLayout, ParameterId};
pub use buffer::Buffer;
pub use device::Device;
pub use error::DeviceError;
pub use indices::Indices;
pub use isa::Isa;
pub use peak::peak;
pub use precision::{Precision, UnknownPrecision};
pub use ragged::Ragged;
pub use settings::arithmetic::Arithmetic;
pub use view::{View, ViewMut};
pub use weight::{PackedWeight, Weight};
pub use workers::Workers;
