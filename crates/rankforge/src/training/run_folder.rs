//! What a run leaves in its output directory beside checkpoints and logs, and how long it took.

use crate::error::Error;
use crate::model_card::TrainingReport;
use crate::training::plot;
use crate::training::record::{Environment, RunRecord};
use crate::training::run::{Run, reported};
use crate::training::setup::Parts;
use rankforge_base::{cpu_seconds, write_atomically};
use rankforge_encoder::TextModel;

impl<M: TextModel> Run<'_, M> {
    /// Where the run is computed.
    fn environment(&self) -> Environment {
        let Parts { arguments, origin, .. } = self.setup.parts;
        let directory = origin.working_directory.clone();
        let device = self.model.model().device();
        Environment::new(device, arguments.precision(), self.first_step, directory)
    }

    /// Warns about what is another than in the run that this one repeats, if it repeats one.
    pub(super) fn compare_with_repeated(&self) {
        let Parts { origin, reporter, .. } = self.setup.parts;
        if let (Some(repeated), None) = (&origin.repeats, &self.last_checkpoint) {
            repeated.compare(&self.definition, &self.environment(), &**reporter);
        }
    }

    /// Writes what the run is made of to its output directory, once: a run that fails in its first
    /// step leaves nothing.
    pub(super) fn write_record(&mut self) -> Result<(), Error> {
        if !std::mem::replace(&mut self.recorded, true) {
            let Parts { arguments, origin, .. } = self.setup.parts;
            let (definition, resumed) = (&self.definition, self.first_step > 0);
            RunRecord::write(
                &arguments.output_dir,
                definition,
                self.environment(),
                origin,
                resumed,
            )?;
        }
        Ok(())
    }

    /// Updates the durations. Returns the seconds since the run began or was resumed.
    pub(super) fn take_time(&mut self) -> f64 {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.timing.training = seconds - self.timing.evaluation;
        self.timing.cpu = cpu_seconds().zip(self.cpu_begun).map(|(now, then)| now - then);
        seconds
    }

    /// The report of the run for the model card.
    pub(super) fn training_report(&self) -> TrainingReport<'_> {
        let Parts { arguments, train_sets, eval_sets, .. } = self.setup.parts;
        TrainingReport {
            arguments,
            state: &self.state,
            best_step: self.state.best_global_step.filter(|_| arguments.load_best_model_at_end),
            train_sets: reported(train_sets),
            eval_sets: reported(eval_sets),
            evaluations: &self.evaluations,
            timing: self.timing,
        }
    }

    pub(super) fn write_plot(&self) -> Result<(), Error> {
        let arguments = self.setup.parts.arguments;
        let title = arguments.run_name.as_deref().unwrap_or("training");
        let metric = arguments.best_metric().or_else(|| {
            let last = self.evaluations.last()?;
            Some(format!("eval_{}", last.primary_metric))
        });
        let svg = plot::plot(title, &self.state.log_history, metric.as_deref());
        Ok(write_atomically(&arguments.output_dir.join("training.svg"), svg.as_bytes())?)
    }
}
