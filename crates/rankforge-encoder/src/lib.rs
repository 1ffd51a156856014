//! Encoder models, forward and backward: texts are tokenised into a ragged batch, a transformer
//! computes hidden states, and a head turns these into scores or embeddings. Model directories are
//! read and written here too.
//!
//! All families share one implementation of the transformer block, which [`EncoderConfig`]
//! parametrises. The head is a chain of [`HeadStage`]s. [`CrossEncoder`] and [`DualEncoder`]
//! combine such a [`Model`] with a tokenizer and the files of a model directory. Other crates use
//! them through the traits [`TextModel`], [`Score`] and [`Embed`].
//!
//! This crate contains no losses, no optimizer and no data sets.
#![forbid(unsafe_code)]

mod adapter;
mod architecture;

mod batch;
mod buffers;
mod checkpoint;
mod config;
mod cross_encoder;
mod directory;
mod distillation;
mod dual_encoder;
mod error;
mod families;
mod head;
mod inference;
mod initialization;
mod input;
mod json;
mod kept_layers;
mod layers;
mod lora;
mod memory;
mod mode;
mod model;
mod modules;
mod options;
mod output_activation;
mod outputs;
mod packed_weights;
mod parts;
mod pass;
mod roles;
mod rounded_parameters;
mod stage_parameters;
mod stages;
mod tokenizer;
mod tokenizer_training;
mod transformer;
mod transformer_layers;
mod weights;
mod workspace;

pub use architecture::{
    ADAPTER_MODULE, Architecture, Initializer, ParameterSpec, TensorPart, TransformerTask,
};
pub use batch::{Batch, BatchBudget};
pub use checkpoint::LoadReport;
pub use config::{BlockConfig, EncoderConfig, Mlp, NormPlace, Positions};
pub use cross_encoder::{CrossEncoder, Ranked};
pub use directory::write::{MODEL_DIRECTORY, is_model_entry};
pub use distillation::{DistillOptions, Distilled, distill_static};
pub use dual_encoder::DualEncoder;
pub use error::EncoderError;
pub use input::{Input, Prompt, Text, Tokens};
pub use lora::{LoraConfig, TargetModules, adapter_base};
pub use mode::Mode;
pub use model::Model;
pub use modules::POOLING_MODES;
pub use options::{EncodeOptions, LoadOptions, PredictOptions};
pub use output_activation::OutputActivation;
pub use outputs::Outputs;
pub use packed_weights::Packing;
pub use parts::Parts;
pub use rankforge_base::{FileError, Reporter, Silent};
pub use rankforge_kernels as kernels;
pub use roles::{Embed, ModelKind, Score, Side, TextModel};
pub use stages::HeadStage;
pub use tokenizer::{TextTokens, Tokenizer};
pub use tokenizer_training::train_word_piece;
pub use weights::Weights;
pub use workspace::Workspace;
