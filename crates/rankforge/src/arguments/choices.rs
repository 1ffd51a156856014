use serde::{Deserialize, Serialize, Serializer};
use std::path::{Path, PathBuf};

/// A count of optimizer steps, or a share of all steps of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number of steps, or a share of all steps")]
pub enum Steps {
    /// This many steps.
    Count(u64),
    /// This share of all steps, at least 0 and below 1.
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

/// When the trainer logs or evaluates.
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
    /// Whenever an evaluation gives the best metric so far.
    Best,
}

/// Which checkpoint a run continues from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "true, false, or the directory of a checkpoint")]
pub enum ResumeFrom {
    /// `true`: the newest complete checkpoint in `output_dir`; `false`: none.
    Newest(bool),
    /// The checkpoint in this directory.
    Path(#[serde(serialize_with = "path_text")] PathBuf),
}

/// How rows are grouped into batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BatchSampler {
    /// A random permutation, divided into batches.
    #[serde(alias = "BATCH_SAMPLER")]
    BatchSampler,
    /// A random permutation, divided so that no text occurs twice in a batch, in any text column. A
    /// row that would repeat a text is deferred to a later batch.
    ///
    /// Schedule and progress count rows over batch size, as sentence-transformers does. Where a
    /// pass over the rows gives fewer batches, two more draw rows again; a run that still has too
    /// few ends earlier than announced, with a warning.
    ///
    /// `no_duplicates_hashed` is an alias.
    #[serde(
        alias = "NO_DUPLICATES",
        alias = "no_duplicates_hashed",
        alias = "NO_DUPLICATES_HASHED"
    )]
    NoDuplicates,
    /// Batches in which at least two labels occur, and each at least twice: the labels take turns,
    /// in random order, and give two rows. The batch size must be even and at least 4.
    #[serde(alias = "GROUP_BY_LABEL")]
    GroupByLabel,
}

/// From which training set each batch is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiDatasetBatchSampler {
    /// In random order, from each set as often as it has batches.
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
    /// Cosine that ends at `min_lr`, or at the share `min_lr_rate` of the full rate.
    CosineWithMinLr,
    /// The same, with a warm-up from the share `warmup_lr_rate` of the full rate; by default its
    /// first step has the rate that a linear warm-up has in its second.
    CosineWarmupWithMinLr,
    /// Decreases to `lr_end` (1e-7 by default) in proportion to the share of remaining steps raised
    /// to `power` (1 by default).
    Polynomial,
    /// Constant, without warm-up.
    Constant,
    /// Constant after the warm-up.
    ConstantWithWarmup,
    /// Decreases with the inverse square root of the step; `timescale` is the number of warm-up
    /// steps by default, or 10,000 without warm-up.
    InverseSqrt,
    /// A warm-up, the full rate for `num_stable_steps` (by default all steps that are left), then a
    /// decrease in `num_decay_steps` to the share `min_lr_ratio` of the full rate. `warmup_type`
    /// and `decay_type` are linear, cosine or 1-sqrt.
    WarmupStableDecay,
    /// Decreases by `factor` (0.1) when the metric of
    /// [`best_metric`](crate::arguments::TrainingArguments::best_metric) has not improved by
    /// `threshold` (1e-4, of which `threshold_mode` is rel or abs) for more than `patience` (10)
    /// evaluations, `cooldown` (0) of which do not count after each decrease; not below `min_lr`
    /// (0), nor by less than `eps` (1e-8). `mode` (min or max) follows `greater_is_better`.
    ReduceLrOnPlateau,
}

/// Writes a path as text, with replacement characters where it is not UTF-8: JSON cannot say more,
/// and serde's own way is an error.
pub(crate) fn path_text<S: Serializer>(
    path: &impl AsRef<Path>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&path.as_ref().to_string_lossy())
}

/// [`path_text`] of a path that may be missing.
pub(crate) fn optional_path_text<S: Serializer>(
    path: &Option<impl AsRef<Path>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match path {
        Some(path) => path_text(path, serializer),
        None => serializer.serialize_none(),
    }
}
