use crate::training::StepReport;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// One line of the log: figures by name, with `step` and `epoch`.
pub type LogRecord = Map<String, Value>;

/// Where a run is and what it has logged: `trainer_state.json`, keys as transformers writes them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Step of the best evaluation.
    pub best_global_step: Option<u64>,
    /// Its figure.
    pub best_metric: Option<f64>,
    /// Its checkpoint, when there is one.
    pub best_model_checkpoint: Option<PathBuf>,
    /// Epochs done, with the fraction of the current one.
    pub epoch: f64,
    /// Steps between evaluations.
    pub eval_steps: u64,
    /// Optimizer steps done.
    pub global_step: u64,
    /// Always false.
    pub is_hyper_param_search: bool,
    /// Always true.
    pub is_local_process_zero: bool,
    /// Always true.
    pub is_world_process_zero: bool,
    /// Everything logged, oldest first.
    pub log_history: Vec<LogRecord>,
    /// Steps between log records.
    pub logging_steps: u64,
    /// Steps of the run.
    pub max_steps: u64,
    /// Tokens that went through the model in training, special tokens included.
    pub num_input_tokens_seen: u64,
    /// Epochs that are begun in the run.
    pub num_train_epochs: u64,
    /// Steps between checkpoints.
    pub save_steps: u64,
    /// Always empty.
    pub stateful_callbacks: Map<String, Value>,
    /// Always 0, as sentence-transformers writes it.
    pub total_flos: f64,
    /// Rows in a batch.
    pub train_batch_size: usize,
    /// Always null.
    pub trial_name: Option<String>,
    /// Always null.
    pub trial_params: Option<Map<String, Value>>,
}

/// Where a run is in its data and its random numbers; all of them are functions of these counters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The epoch, from 0.
    pub epoch: u64,
    /// Batches of the epoch that are done.
    pub batches: usize,
    /// Batches of the run that are done; names the draws of dropout and losses.
    pub micro_batches: u64,
    /// Rows of the training data.
    pub dataset_rows: usize,
    /// Sum of the losses of all steps.
    pub total_loss: f64,
    /// Steps whose loss overflowed in fp16 and is not in the sum.
    #[serde(default)]
    pub overflowed_losses: u64,
    /// Steps in which nothing was learned, as loss or gradients overflowed in fp16; neither the
    /// learning rate nor AdamW counts them.
    #[serde(default)]
    pub skipped_steps: u64,
    /// What the next log record will report.
    pub window: LossWindow,
    /// The last step that was not skipped; a record made after resuming reports its norm and learning rate.
    pub last_step: StepReport,
}

/// Losses since the last log record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossWindow {
    /// Steps.
    pub steps: u64,
    /// Those of them whose loss overflowed in fp16.
    #[serde(default)]
    pub overflowed: u64,
    /// Sum of the losses of the others.
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

/// The same JSON with the keys of all objects in order.
pub(crate) fn with_sorted_keys(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> =
                map.into_iter().map(|(key, value)| (key, with_sorted_keys(value))).collect();
            entries.sort_by(|(left, _), (right, _)| left.cmp(right));
            Value::Object(entries.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(with_sorted_keys).collect()),
        other => other,
    }
}
