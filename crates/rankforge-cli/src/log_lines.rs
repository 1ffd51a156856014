//! The log of a training run, one line for each record.

use crate::progress::Progress;
use rankforge::encoder::Reporter;
use rankforge::training::{Callback, LogRecord, TrainerState};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Writes what a run logs and saves to the progress of the command line.
pub(crate) struct LogLines(pub(crate) Arc<Progress>);

impl Callback for LogLines {
    fn on_log(&mut self, state: &TrainerState, record: &LogRecord) {
        let figures = record
            .iter()
            .filter(|(name, _)| is_shown(name))
            .filter_map(|(name, value)| Some((name.as_str(), shown(value)?)));
        self.0.message(&line(state, figures));
    }

    fn on_save(&mut self, _state: &TrainerState, checkpoint: &Path) {
        self.0.message(&format!("saved {}", checkpoint.display()));
    }
}

/// Whether a figure of the log says something to a person.
pub(crate) fn is_shown(name: &str) -> bool {
    let timing = ["eval_runtime", "eval_samples_per_second", "eval_steps_per_second"];
    !["step", "epoch", "total_flos"].contains(&name) && !timing.contains(&name)
}

fn line<'a>(state: &TrainerState, figures: impl Iterator<Item = (&'a str, String)>) -> String {
    let figures: Vec<String> = figures.map(|(name, value)| format!("{name} {value}")).collect();
    format!(
        "step {}/{}, epoch {:.2}: {}",
        state.global_step,
        state.max_steps,
        state.epoch,
        figures.join(", ")
    )
}

/// A count as it is, another number shortened.
fn shown(value: &Value) -> Option<String> {
    value.as_u64().map(|count| count.to_string()).or_else(|| value.as_f64().map(short))
}

/// Four digits that count: 0.4312, 2.0e-5.
pub(crate) fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.2e}") } else { format!("{value:.4}") }
}
