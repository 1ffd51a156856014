//! Text to ragged token batch to transformer to outputs, and back; model directories.
//!
//! One transformer block, described by [`EncoderConfig`], serves every family; a chain of
//! [`HeadStage`]s turns its hidden states into scores or embeddings. [`CrossEncoder`] and
//! [`DualEncoder`] are that model with a tokenizer and the files of a model directory around it.
//! No losses, no optimizer, no data sets here.
#![forbid(unsafe_code)]

mod architecture;
mod batch;
mod config;
mod cross_encoder;
mod directory;
mod dual_encoder;
mod error;
mod families;
mod head;
mod inference;
mod layers;
mod model;
mod pass;
mod reporter;
mod tokenizer;
mod tokenizer_training;
mod transformer;
mod weights;
mod workspace;

pub use architecture::{Architecture, Initializer, ParameterSpec, Task, TensorPart};
pub use batch::{Batch, Input, Tokens};
pub use config::{BlockConfig, EncoderConfig, Mlp, NormPlace, Positions};
pub use cross_encoder::{CrossEncoder, OutputActivation, PredictOptions, Ranked};
pub use directory::{LoadOptions, Trainable};
pub use dual_encoder::{DualEncoder, EncodeOptions};
pub use error::EncoderError;
pub use head::HeadStage;
pub use model::{LoadReport, Mode, Model, Outputs};
pub use rankforge_kernels as kernels;
pub use reporter::{Reporter, Silent};
pub use tokenizer::Tokenizer;
pub use tokenizer_training::train_word_piece;
pub use weights::Weights;
pub use workspace::Workspace;
