//! The trackers of a run in progress.

use crate::error::Error;
use crate::training::earlier_runs::is_in;
use crate::training::log_file::unix_seconds;
use crate::training::run::Run;
use crate::training::setup::Parts;
use rankforge_encoder::{LoraConfig, TextModel};
use rankforge_trackers::{Outcome, RunStart, Trackers};
use serde_json::Value;

impl<M: TextModel> Run<'_, M> {
    /// Opens the trackers, each on a thread of its own.
    pub(super) fn begin_trackers(&mut self) {
        let Parts { arguments, tracking, reporter, .. } = self.setup.parts;
        let resumed = self.last_checkpoint.as_deref();
        let model = self.model.model();
        let start = RunStart {
            name: arguments.run_name.clone(),
            arguments: arguments.to_map(),
            model: match self.model.parts().config() {
                Some(Value::Object(config)) => config.clone(),
                _ => Default::default(),
            },
            adapter: model.lora().map(LoraConfig::to_json),
            num_parameters: model.parameters().layout().len() as u64,
            step: self.first_step,
            records: self.state.log_history.len() as u64,
            time: unix_seconds(),
            continues: resumed.is_some_and(|path| is_in(path, &arguments.output_dir)),
        };
        let settings = &self.setup.trackers;
        self.trackers = Some(Trackers::begin(settings, &start, tracking.limits, reporter));
    }

    /// Tells the trackers how the run ended.
    pub(super) fn end_trackers(&mut self, result: Result<(), &Error>) {
        let outcome = match result {
            Ok(()) => Outcome::Finished,
            Err(Error::Interrupted { .. }) => Outcome::Interrupted,
            Err(_) => Outcome::Failed,
        };
        if let Some(trackers) = self.trackers.take() {
            trackers.end(outcome);
        }
    }
}
