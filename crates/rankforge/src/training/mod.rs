//! Training: arguments, batches, gradient caching, the loop, checkpoints.
//!
//! | step | file |
//! |---|---|
//! | which rows make a batch | `sampler` |
//! | rows to tokens and labels, one batch ahead on a thread | `examples`, `batches` |
//! | loss and gradients of a batch, in chunks | `gradient_cache` |
//! | loss scale of fp16, learning rate, clipping, AdamW | `loss_scaler`, `schedule`, `optimizer` |
//! | the loop itself | `trainer`, and around the steps `run`, `log`, `evaluate`, `health` |
//! | what is on disk | `checkpoint`, `state`, `plot` |

mod argument_names;
mod arguments;
mod batches;
mod callbacks;
mod checkpoint;
mod evaluate;
mod examples;
mod gradient_cache;
mod health;
mod log;
mod loss_scaler;
mod optimizer;
mod plot;
mod run;
mod sampler;
mod schedule;
mod state;
mod trainer;

pub use arguments::{IntervalStrategy, ResumeFrom, SaveStrategy, Steps, TrainingArguments};
pub use batches::{PreparedBatch, Preparer};
pub use callbacks::{Callback, Flow, StepReport};
pub use checkpoint::{Checkpoint, checkpoints};
pub use examples::Dataset;
pub use gradient_cache::{Chunking, loss_and_gradients, loss_without_gradients};
pub use loss_scaler::LossScaler;
pub use sampler::{BatchSampler, EpochBatches, LABEL_COLUMNS, Sampler};
pub use schedule::{LearningRateScheduler, RunLength, Schedule};
pub use state::{LogRecord, LossWindow, Position, TrainerState};
pub use trainer::{TrainOutput, Trainer};
