//! Logs of training runs for other programs: event files of TensorBoard, runs of an MLflow server,
//! and offline runs of Weights & Biases. Names and values are those that transformers' Trainer
//! gives to each.
//!
//! [`Trackers`] hands the lines of a log to a thread for each tracker, so that one which fails or
//! hangs neither stops nor slows a run. Knows nothing of models, losses and data, and reads no
//! environment: its caller passes an [`Environment`].
#![forbid(unsafe_code)]

mod environment;
mod folders;
mod line;

mod mlflow;
mod names;
mod notes;
mod outcome;
mod protobuf;
mod report_to;
mod settings;
mod settings_error;
mod sink;
mod start;
mod tensorboard;
mod trackers;
mod wandb;
mod worker;

pub use environment::Environment;
pub use folders::Folders;
pub use outcome::Outcome;
pub use report_to::{ReportTo, Tracker};
pub use settings::Settings;
pub use settings_error::SettingsError;
pub use start::RunStart;
pub use trackers::{Limits, Trackers};
