use crate::metrics::Metrics;
use crate::trainer_state::{LogRecord, TrainerState};
use crate::training::position::StepReport;
use std::path::Path;

/// Whether a run continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It continues.
    Continue,
    /// It ends after this step, as if it had been the last.
    Stop,
}

/// Callbacks for the events of a run. By default they do nothing.
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
