//! The log of a training run on standard error, one line per record.

use crate::progress::Progress;
use rankforge::base::Reporter;
use rankforge::training::{Callback, LogRecord, TrainerState};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// A callback that prints log records and the paths of saved checkpoints.
pub(crate) struct LogLines(pub(crate) Arc<Progress>);

impl Callback for LogLines {
    fn on_log(&mut self, state: &TrainerState, record: &LogRecord) {
        let metrics = record
            .iter()
            .filter(|(name, _)| is_shown(name))
            .filter_map(|(name, value)| Some((name.as_str(), formatted(value)?)));
        self.0.message(&line(state, metrics));
    }

    fn on_save(&mut self, _state: &TrainerState, checkpoint: &Path) {
        self.0.message(&format!("saved {}", checkpoint.display()));
    }
}

/// Whether a field of a log record is printed: not the position of the run, which the line starts
/// with, and not timings and operation counts.
pub(crate) fn is_shown(name: &str) -> bool {
    let timing = ["eval_runtime", "eval_samples_per_second", "eval_steps_per_second"];
    !["step", "epoch", "total_flos"].contains(&name) && !timing.contains(&name)
}

fn line<'a>(state: &TrainerState, metrics: impl Iterator<Item = (&'a str, String)>) -> String {
    let metrics: Vec<String> = metrics.map(|(name, value)| format!("{name} {value}")).collect();
    format!(
        "step {}/{}, epoch {:.2}: {}",
        state.global_step,
        state.max_steps,
        state.epoch,
        metrics.join(", ")
    )
}

/// A count in full, another number as by [`short`]; `None` for a value that is not a number.
fn formatted(value: &Value) -> Option<String> {
    value.as_u64().map(|count| count.to_string()).or_else(|| value.as_f64().map(short))
}

/// Four decimals (`0.4312`), or two decimals and an exponent below 0.001 (`2.00e-5`).
pub(crate) fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.2e}") } else { format!("{value:.4}") }
}
