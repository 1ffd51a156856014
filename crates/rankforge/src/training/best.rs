//! The best evaluation of a run, and the checkpoint of its step.

use crate::error::Error;
use crate::metrics::Metrics;
use crate::trainer_state::step_of;
use crate::training::checkpoint::{self, Checkpoint};
use crate::training::run::Run;
use rankforge_encoder::TextModel;
use serde_json::Value;
use std::path::Path;

impl<M: TextModel> Run<'_, M> {
    /// Whether an evaluation is strictly better than the best so far, which it then replaces.
    ///
    /// # Errors
    /// When the evaluation lacks the metric that decides which checkpoint is best.
    pub(super) fn note_best(&mut self, metrics: &Metrics) -> Result<bool, Error> {
        let Some(name) = self.setup.parts.arguments.best_metric() else { return Ok(false) };
        let Some(value) = metrics.get(&name) else {
            let known: Vec<&str> = metrics.0.keys().map(String::as_str).collect();
            let expected = format!("one of the metrics of the evaluation: {}", known.join(", "));
            let given = self.setup.parts.arguments.metric_for_best_model.as_ref();
            let got = given.unwrap_or(&name);
            return Err(Error::argument("metric_for_best_model", expected, got));
        };
        let better = self.is_better(value, self.state.best_metric);
        if better {
            self.state.best_metric = Some(value);
            self.state.best_global_step = Some(self.state.global_step);
        }
        Ok(better)
    }

    pub(super) fn is_better(&self, value: f64, best: Option<f64>) -> bool {
        match best {
            None => !value.is_nan(),
            Some(best) if self.setup.parts.arguments.greater_is_better() => value > best,
            Some(best) => value < best,
        }
    }

    /// Finds the best checkpoint of the run that was resumed from `found`: beside that, as the
    /// folder of the run may have been moved, or else where it was. If it is gone, the best of the
    /// checkpoints that are left takes its place.
    ///
    /// # Errors
    /// When the folder of the checkpoint cannot be read.
    pub(super) fn find_best(&mut self, found: &Checkpoint) -> Result<(), Error> {
        let Some(best) = self.state.best_model_checkpoint.clone() else { return Ok(()) };
        let folder = found.path.parent().unwrap_or(Path::new(""));
        let beside = best.file_name().map(|name| folder.join(name));
        let exists = beside.into_iter().chain([best.clone()]).find(|path| holds_state(path));
        if exists.is_some() {
            self.state.best_model_checkpoint = exists;
            return Ok(());
        }
        let left = self.best_of_left(folder)?;
        let instead = match &left {
            Some((step, value)) => {
                format!("the best of those that are left is of step {step} ({value})")
            }
            None => "no other one can take its place".to_owned(),
        };
        self.setup.parts.reporter.warning(&format!(
            "the best checkpoint of the run, {}, is missing; {instead}",
            best.display()
        ));
        self.state.best_global_step = left.map(|(step, _)| step);
        self.state.best_metric = left.map(|(_, value)| value);
        self.state.best_model_checkpoint =
            left.map(|(step, _)| checkpoint::checkpoint_path(folder, step));
        Ok(())
    }

    /// Step and metric of the best evaluation of the log whose step has a checkpoint in `folder`.
    fn best_of_left(&self, folder: &Path) -> Result<Option<(u64, f64)>, Error> {
        let Some(name) = self.setup.parts.arguments.best_metric() else { return Ok(None) };
        let left = checkpoint::checkpoints(folder)?;
        let mut best: Option<(u64, f64)> = None;
        for record in &self.state.log_history {
            let step = step_of(record);
            let value = record.get(&name).and_then(Value::as_f64);
            let (Some(step), Some(value)) = (step, value) else { continue };
            let is_left = left.iter().any(|(other, path)| *other == step && holds_state(path));
            if is_left && self.is_better(value, best.map(|(_, value)| value)) {
                best = Some((step, value));
            }
        }
        Ok(best)
    }

    /// Loads the parameters and the evaluations of the best checkpoint, if the arguments request
    /// it. Returns the step of the model's parameters, the last one if they cannot be loaded: the
    /// run is not lost with them.
    pub(super) fn load_best(&mut self) -> u64 {
        let parts = self.setup.parts;
        let last = self.state.global_step;
        if !parts.arguments.load_best_model_at_end {
            return last;
        }
        let kept = "the model keeps the parameters of the last step";
        let Some(best) = self.state.best_model_checkpoint.clone() else {
            parts.reporter.warning(&format!("no evaluation has a best checkpoint; {kept}"));
            return last;
        };
        match self.load(&best) {
            Ok(step) => {
                let text = format!("took the best parameters, of {}", best.display());
                parts.reporter.message(&text);
                step
            }
            Err(error) => {
                let text = format!("cannot load the best checkpoint: {error}; {kept}");
                parts.reporter.warning(&text);
                last
            }
        }
    }

    /// Loads the parameters and the evaluations of a checkpoint. Returns its step.
    fn load(&mut self, path: &Path) -> Result<u64, Error> {
        let evaluations = checkpoint::read_run(path)?.evaluations;
        let step = checkpoint::read_state(path)?.global_step;
        self.model.load_parameters(path)?;
        self.evaluations = evaluations;
        Ok(step)
    }
}

fn holds_state(path: &Path) -> bool {
    path.join(checkpoint::STATE).is_file()
}
