//! The log of a training run on standard error, one line per record.

use crate::progress::{Progress, significant};
use indicatif::HumanDuration;
use rankforge::base::{ProcessMemory, Reporter};
use rankforge::training::{Callback, Flow, LogRecord, StepReport, TrainerState};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time between two updates of what progress says of the last step.
const NOTE_INTERVAL: Duration = Duration::from_millis(500);

/// A callback that prints log records and the paths of saved checkpoints, and says loss and memory
/// beside the progress of the steps.
pub(crate) struct LogLines {
    progress: Arc<Progress>,
    /// When the run began, and the step that it began after.
    begun: Option<(Instant, u64)>,
    noted: Option<Instant>,
}

impl LogLines {
    pub(crate) fn new(progress: Arc<Progress>) -> LogLines {
        LogLines { progress, begun: None, noted: None }
    }

    /// Steps per second since the run began, and the time that the others will take.
    fn pace(&self, state: &TrainerState) -> Option<String> {
        let (begun, first) = self.begun?;
        let done = state.global_step.checked_sub(first).filter(|done| *done > 0)?;
        let rate = done as f64 / begun.elapsed().as_secs_f64().max(1e-9);
        let left = state.max_steps.saturating_sub(state.global_step) as f64 / rate;
        let mut pace = format!("{} steps/s", significant(rate));
        if left > 0.0 {
            pace.push_str(&format!(", {:#} left", HumanDuration(Duration::from_secs_f64(left))));
        }
        Some(pace)
    }
}

/// The memory of the process, where it is known.
fn memory() -> Option<String> {
    let mebibytes = ProcessMemory::read()?.now / (1 << 20);
    Some(format!("{mebibytes} MiB"))
}

impl Callback for LogLines {
    fn on_train_begin(&mut self, state: &TrainerState) {
        self.begun = Some((Instant::now(), state.global_step));
    }

    fn on_step_end(&mut self, _state: &TrainerState, step: &StepReport) -> Flow {
        if self.noted.is_none_or(|noted| noted.elapsed() >= NOTE_INTERVAL) {
            self.noted = Some(Instant::now());
            let loss = format!("loss {}", short(step.loss));
            let parts = [Some(loss), memory()].into_iter().flatten().collect::<Vec<_>>();
            self.progress.note(&parts.join(", "));
        }
        Flow::Continue
    }

    fn on_log(&mut self, state: &TrainerState, record: &LogRecord) {
        let metrics = record
            .iter()
            .filter(|(name, _)| is_shown(name))
            .filter_map(|(name, value)| Some((name.as_str(), formatted(value)?)));
        let mut line = line(state, metrics);
        if record.contains_key("loss") {
            for part in [self.pace(state), memory()].into_iter().flatten() {
                line.push_str(&format!(", {part}"));
            }
        }
        self.progress.message(&line);
    }

    fn on_save(&mut self, _state: &TrainerState, checkpoint: &Path) {
        self.progress.message(&format!("saved {}", checkpoint.display()));
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
