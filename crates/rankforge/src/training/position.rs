use crate::training::plateau::PlateauState;
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
    /// Name of each training set.
    #[serde(default)]
    pub dataset_names: Vec<String>,
    /// Sum of the losses of all steps.
    pub total_loss: f64,
    /// Number of steps whose loss overflowed in fp16 and is not in the sum.
    #[serde(default)]
    pub overflowed_losses: u64,
    /// Number of steps that were skipped, as loss or gradients overflowed in fp16. The schedule and
    /// AdamW do not count them.
    #[serde(default)]
    pub skipped_steps: u64,
    /// What evaluations have made of the learning rate, with `reduce_lr_on_plateau`.
    #[serde(default)]
    pub plateau: PlateauState,
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
    /// The losses' named components, in the order in which they occurred first.
    pub components: Vec<Component>,
}

/// Values of one named component of a loss. With several training sets, not every step has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Name that the loss gives it.
    pub name: String,
    /// Weighted sum of its values.
    pub sum: f64,
    /// Sum of the weights.
    pub weight: f64,
}

impl LossWindow {
    /// Adds a loss with a weight.
    pub fn add(&mut self, loss: f64, weight: f64) {
        self.loss += loss * weight;
    }

    /// Adds the components of a loss with a weight.
    pub fn add_components(&mut self, components: &[(String, f64)], weight: f64) {
        for (name, value) in components {
            let index = self.components.iter().position(|known| known.name == *name);
            let index = index.unwrap_or_else(|| {
                self.components.push(Component { name: name.clone(), ..Component::default() });
                self.components.len() - 1
            });
            self.components[index].sum += value * weight;
            self.components[index].weight += weight;
        }
    }

    /// The weighted mean of each component.
    pub fn component_means(&self) -> Vec<(String, f64)> {
        let mean = |component: &Component| {
            let Component { name, sum, weight } = component;
            (name.clone(), sum / weight)
        };
        self.components.iter().map(mean).collect()
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
