//! Numerics of one transformer family on ragged batches: a closed list of operations on opaque
//! buffer handles, each with its backward beside it.
//!
//! Model code calls the functions in [`ops`] on [`View`]s of [`Buffer`]s and [`Arena`]s and never
//! indexes into them. A handle carries its [`Device`]: the CPU with an instruction set, or the
//! reference device, which says what every other device must compute. Nothing here knows of text,
//! models or losses, nothing opens files, and nothing reads the environment.
//!
//! # Modules
//! Imports point down this list, never up:
//!
//! | module | holds |
//! |---|---|
//! | `ops` | each operation's documentation, shape assertions and dispatch on the device |
//! | `peak` | the rate of multiply-adds that no operation on a device can exceed |
//! | `weight`, `arena`, `buffer`, `indices`, `ragged` | what operations take, on a device |
//! | `view`, `storage` | handles on matrices, and whose memory the elements are in |
//! | `device` | which device a handle is on |
//! | `cpu`, `reference` | the bodies of all operations, once for each kind of device |
//! | `settings` | settings of the operations: activations, dropout, similarities |
//! | `workers`, `precision`, `isa` | host threads, rounding, instruction sets |
//! | `shape`, `error` | checked numbers of elements, why a device could not be opened |
//! | `mapping` | files that the caller opened, as slices of memory |
//!
//! To add a device with memory of its own, implement the functions of `reference` for it, and add a
//! variant to the device's kind and to the three enums of `storage`; the tests run on every device.
//!
//! # Conventions
//! - `cpu::x` and `reference::x` have one name where they are one thing on two devices; any other
//!   type has a name of its own.
//! - Matrices are row-major `rows x columns`, last index contiguous, `f32`.
//! - Letters in `# Shapes`: `B` texts, `T` tokens in the ragged batch, `L` longest text, `H`
//!   hidden, `A` heads, `D` head dimension, `F` MLP width, `E` embedding dimension, `N` candidates,
//!   `V` vocabulary.
//! - `x_backward` takes the output gradient first, or first in the struct of its inputs. Gradients
//!   of parameters are always accumulated (`+=`); gradients of activations are overwritten unless
//!   the docs say otherwise.
//! - The same inputs give the same bits on one instruction set, whatever the number of threads.
//! - A shape mismatch is a bug of the caller and panics with both shapes.

mod arena;
mod buffer;
mod cpu;
mod device;
mod error;
mod indices;
mod isa;
mod mapping;
pub mod ops;
mod peak;
mod precision;
mod ragged;
mod reference;
mod settings;
mod shape;
mod storage;
mod team;
mod view;
mod weight;
mod workers;

pub use arena::{Arena, ArenaEntry, ArenaLayout, ParameterId};
pub use buffer::Buffer;
pub use device::Device;
pub use error::DeviceError;
pub use indices::Indices;
pub use isa::Isa;
pub use mapping::Mapping;
pub use peak::peak;
pub use precision::{Precision, UnknownPrecision};
pub use ragged::Ragged;
pub use settings::arithmetic::Arithmetic;
pub use view::{View, ViewMut};
pub use weight::{PackedRows, PackedWeight, Weight};
pub use workers::Workers;
