use crate::Metrics;
use crate::training::{LogRecord, TrainerState};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Whether a run goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It goes on.
    Continue,
    /// It ends after this step, as if it had been the last.
    Stop,
}

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
    /// Whether loss or gradients overflowed fp16, so that nothing was learned.
    #[serde(skip)]
    pub skipped: bool,
}

/// Watches a run; every method does nothing unless it is written.
pub trait Callback: Send {
    /// The first step is about to begin.
    fn on_train_begin(&mut self, _state: &TrainerState) {}

    /// An optimizer step is done.
    fn on_step_end(&mut self, _state: &TrainerState, _step: &StepReport) -> Flow {
        Flow::Continue
    }

    /// A record was added to the log.
    fn on_log(&mut self, _state: &TrainerState, _record: &LogRecord) {}

    /// The model was evaluated; keys have the prefix `eval_`.
    fn on_evaluate(&mut self, _state: &TrainerState, _metrics: &Metrics) -> Flow {
        Flow::Continue
    }

    /// A checkpoint was written.
    fn on_save(&mut self, _state: &TrainerState, _checkpoint: &Path) {}

    /// The run is over.
    fn on_train_end(&mut self, _state: &TrainerState) {}
}
