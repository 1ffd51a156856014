//! LoRA: low-rank adapters beside the linear layers of a transformer, and their files in the layout
//! of peft.

mod config;
mod folder;
mod modules;
mod specs;
mod tensors;

pub use config::{LoraConfig, TargetModules};
pub use folder::adapter_base;
pub(crate) use folder::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, AdapterFolder};
pub(crate) use modules::{Selected, is_saved, select};
pub(crate) use specs::adapter_specs;
pub(crate) use tensors::{AdapterTensors, find_saved, stored_name};
