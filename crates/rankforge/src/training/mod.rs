//! Training: arguments, samplers, schedules.

mod argument_names;
mod arguments;
mod sampler;
mod schedule;

pub use arguments::{IntervalStrategy, ResumeFrom, SaveStrategy, Steps, TrainingArguments};
pub use sampler::{BatchSampler, EpochBatches, LABEL_COLUMNS, Sampler};
pub use schedule::{LearningRateScheduler, RunLength, Schedule};
