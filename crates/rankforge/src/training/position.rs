use serde::{Deserialize, Deserializer, Serialize};

/// What an optimizer step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepReport {
    /// Mean loss of the batches of the step; not finite when it overflowed in fp16.
    pub loss: f64,
    /// Global norm of the gradients, before clipping and without the loss scale.
    pub grad_norm: f64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Tokens of its batches.
    pub tokens: usize,
    /// Whether the step was skipped, as loss or gradients overflowed in fp16.
    #[serde(skip)]
    pub skipped: bool,
}

/// Where a run is in its data. All random choices are functions of these counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Number of batches of the epoch that are done.
    pub batches: usize,
    /// Number of batches of the run that are done; determines dropout and the random choices of
    /// losses.
    pub micro_batches: u64,
    /// Number of rows of each training set.
    #[serde(deserialize_with = "one_or_several")]
    pub dataset_rows: Vec<usize>,
    /// Sum of the losses of all steps.
    pub total_loss: f64,
    /// Number of steps whose loss overflowed in fp16 and is not in the sum.
    #[serde(default)]
    pub overflowed_losses: u64,
    /// Number of steps that were skipped, as loss or gradients overflowed in fp16. The schedule and
    /// AdamW do not count them.
    #[serde(default)]
    pub skipped_steps: u64,
    /// Losses that the next log record will report.
    pub window: LossWindow,
    /// The last step that was not skipped: a log record after resuming reports its norm and
    /// learning rate.
    pub last_step: StepReport,
}

/// Losses since the last log record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWindow {
    /// Number of steps.
    pub steps: u64,
    /// Number of these whose loss overflowed in fp16.
    #[serde(default)]
    pub overflowed: u64,
    /// Sum of the losses of the other steps.
    pub loss: f64,
    /// Sums of the losses' named parts, in the order of the loss.
    pub components: Vec<(String, f64)>,
}

impl LossWindow {
    /// Adds a share of a step's loss.
    pub fn add(&mut self, loss: f64, components: &[(String, f64)], share: f64) {
        self.loss += loss * share;
        for (name, value) in components {
            match self.components.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += value * share,
                None => self.components.push((name.clone(), value * share)),
            }
        }
    }
}

/// Reads a number as a list of one: older checkpoints hold the rows of their one training set.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Rows {
        One(usize),
        Several(Vec<usize>),
    }
    Ok(match Rows::deserialize(deserializer)? {
        Rows::One(rows) => vec![rows],
        Rows::Several(rows) => rows,
    })
}
