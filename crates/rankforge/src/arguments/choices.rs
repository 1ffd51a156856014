use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A count of optimizer steps, or a share of all steps of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Steps {
    /// This many steps.
    Count(u64),
    /// This share of all steps, in `0..1`.
    Ratio(f64),
}

impl Steps {
    /// The number of steps, in a run of `total` steps: `ceil(total * ratio)` for a share.
    pub fn resolve(self, total: u64) -> u64 {
        match self {
            Steps::Count(count) => count,
            Steps::Ratio(ratio) => (total as f64 * ratio).ceil() as u64,
        }
    }
}

/// How often something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IntervalStrategy {
    /// Never.
    No,
    /// After a number of steps.
    Steps,
    /// At the end of each epoch.
    Epoch,
}

/// When a checkpoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaveStrategy {
    /// Never.
    No,
    /// After a number of steps, and after the last step.
    Steps,
    /// At the end of each epoch.
    Epoch,
    /// Whenever an evaluation gives the best figure so far.
    Best,
}

/// Which checkpoint a run continues from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ResumeFrom {
    /// `true`: the newest complete checkpoint in `output_dir`; `false`: none.
    Newest(bool),
    /// The checkpoint in this directory.
    Path(PathBuf),
}

/// How rows become batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSampler {
    /// A random permutation, divided into batches.
    #[serde(alias = "BATCH_SAMPLER")]
    BatchSampler,
    /// A random permutation, divided so that no value occurs twice in a batch, in any column. A row
    /// that would repeat a value waits for a later batch.
    ///
    /// `no_duplicates_hashed` is accepted as another name of it.
    #[serde(
        alias = "NO_DUPLICATES",
        alias = "no_duplicates_hashed",
        alias = "NO_DUPLICATES_HASHED"
    )]
    NoDuplicates,
}

/// From which training set each batch is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiDatasetBatchSampler {
    /// In random order, each set as often as it has batches.
    #[serde(alias = "PROPORTIONAL")]
    Proportional,
    /// One batch of each set in turn, until the first set has none left.
    #[serde(alias = "ROUND_ROBIN")]
    RoundRobin,
}

/// How the learning rate changes over a run; names as in transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRateScheduler {
    /// Decreases linearly to 0.
    Linear,
    /// Decreases to 0 along half a cosine; `num_cycles` is 0.5 by default.
    Cosine,
    /// Decreases to 0 along half cosines, each from the full rate; `num_cycles` is 1 by default.
    CosineWithRestarts,
    /// Decreases to `lr_end` (1e-7) in proportion to a `power` (1) of the share of steps left.
    Polynomial,
    /// Constant, without warm-up.
    Constant,
    /// Constant after the warm-up.
    ConstantWithWarmup,
    /// Decreases with the inverse square root of the step; `timescale` is the number of warm-up
    /// steps, or 10,000 without warm-up.
    InverseSqrt,
}
