use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::PathBuf;

/// One line of the log: figures by name, with `step` and `epoch`.
pub type LogRecord = Map<String, Value>;

/// The step of a record.
pub(crate) fn step_of(record: &LogRecord) -> Option<u64> {
    record.get("step").and_then(Value::as_u64)
}

/// The state and the log of a run, as in `trainer_state.json` of transformers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Step of the best evaluation.
    pub best_global_step: Option<u64>,
    /// Figure of the best evaluation.
    pub best_metric: Option<f64>,
    /// Checkpoint of the best step, when there is one.
    pub best_model_checkpoint: Option<PathBuf>,
    /// Number of epochs that are done, with the fraction of the current one.
    pub epoch: f64,
    /// Number of steps between evaluations.
    pub eval_steps: u64,
    /// Number of optimizer steps that are done.
    pub global_step: u64,
    /// Always false.
    pub is_hyper_param_search: bool,
    /// Always true.
    pub is_local_process_zero: bool,
    /// Always true.
    pub is_world_process_zero: bool,
    /// All log records, oldest first.
    pub log_history: Vec<LogRecord>,
    /// Number of steps between log records.
    pub logging_steps: u64,
    /// Number of steps in the run.
    pub max_steps: u64,
    /// Number of tokens that the model was trained on, special tokens included.
    pub num_input_tokens_seen: u64,
    /// Number of epochs that the run begins.
    pub num_train_epochs: u64,
    /// Number of steps between checkpoints.
    pub save_steps: u64,
    /// The counts of early stopping, where a run has it.
    pub stateful_callbacks: Map<String, Value>,
    /// Always 0, as sentence-transformers writes it.
    pub total_flos: f64,
    /// Number of rows in a batch.
    pub train_batch_size: usize,
    /// Always null.
    pub trial_name: Option<String>,
    /// Always null.
    pub trial_params: Option<Map<String, Value>>,
}

/// The same JSON with the keys of all objects sorted.
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
