//! Training: sets, batches, gradient caching, the loop, checkpoints.
//!
//! | step | file |
//! |---|---|
//! | what is trained on, with its loss and prompts | `training_set`, `dataset` |
//! | which rows make a batch, which set is next | `sampler`, `epoch` |
//! | texts and labels that batches depend on | `no_duplicates`, `group_by_label`, `order` |
//! | rows to tokens and targets, one batch ahead on a thread | `batches` |
//! | loss and gradients of a batch, in chunks | `gradient_cache` |
//! | loss scale of fp16, clipping | `loss_scaler`, `train_loop` |
//! | learning rate by step, and by evaluation | `schedule`, `plateau` |
//! | optimizers and their state; parameters of losses | `optimizer`, `optimizers` |
//! | what a run needs, checked before its first step | `setup`, `token_budget` |
//! | the loop | `train_loop` |
//! | what happens around the steps | `run`, `log`, `evaluate`, `best`, `early_stopping`, `health` |
//! | what makes a run the same run when it is resumed | `definition`, `earlier_runs` |
//! | whether a run may resume from a checkpoint | `resumed_run` |
//! | what is on disk | `checkpoint`, `record`, `run_folder`, `log_file`, `plot` |
//! | who else gets the log | `tracking`, `run_trackers` |
//! | pages about a run, and runs side by side | `report`, `run_report`, `compare` |
//! | the public face | `trainer` |

mod batches;
mod best;
mod callbacks;
mod checkpoint;
mod compare;
mod dataset;
mod definition;
mod earlier_runs;
mod early_stopping;
mod epoch;
mod evaluate;
mod gradient_cache;
mod group_by_label;
mod health;
mod layer_decay;
mod log;
mod log_file;
mod loss_scaler;
mod model_copy;
mod named_ranges;
mod no_duplicates;
mod optimizer;
mod optimizer_file;
#[cfg(test)]
mod optimizer_goldens;
mod optimizer_state;
mod optimizers;
mod order;
mod plateau;
mod plot;
mod position;
mod record;
mod report;
mod resumed_run;
mod run;
mod run_folder;
mod run_report;
mod run_trackers;
mod sampler;
mod schedule;
mod setup;
mod token_budget;
mod tracking;
mod train_loop;
mod trainer;
mod training_set;

pub use crate::arguments::{
    BatchSampler, IntervalStrategy, LearningRateScheduler, MultiDatasetBatchSampler,
    OptimizerNames, Prompts, ResumeFrom, SaveStrategy, Steps, TrainingArguments,
};
pub use crate::label_columns::LABEL_COLUMNS;
pub use crate::trainer_state::{LogRecord, TrainerState};
pub use batches::{PreparedBatch, Preparer, prepare_ahead};
pub use callbacks::{Callback, Flow};
pub use checkpoint::{Checkpoint, checkpoints};
pub use compare::{Comparison, ComparisonRow, RunSummary};
pub use dataset::Dataset;
pub use definition::{RunDefinition, SetDefinition};
pub use epoch::{Epoch, EpochSampler, SetBatch};
pub use gradient_cache::GradientCache;
pub use loss_scaler::LossScaler;
pub use plateau::{Plateau, PlateauState};
pub use position::{Component, LossWindow, Position, StepReport};
pub(crate) use record::RECIPE;
pub use record::{Environment, Origin, RunRecord};
pub use run::TrainOutput;
pub use sampler::{EpochBatches, Sampler};
pub use schedule::{RunLength, Schedule};
pub use tracking::Tracking;
pub use trainer::{Trainer, check_destination};
pub use training_set::TrainingSet;
