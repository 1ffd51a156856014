//! The page about a run in progress. Nothing that goes wrong with it ends the run: there is a
//! warning instead.

use crate::error::Error;
use crate::evaluation::DetailCollector;
use crate::training::record::RunRecord;
use crate::training::report::{
    Evaluated, REPORT, Recorded, RunPage, SampledScores, ScoredRows, sampled_scores,
};
use crate::training::run::Run;
use rankforge_base::write_atomically;
use rankforge_encoder::TextModel;

impl<M: TextModel> Run<'_, M> {
    /// Takes over what the run kept before it was resumed, or scores a sample of rows.
    pub(super) fn begin_report(&mut self) {
        if !self.setup.parts.arguments.write_report {
            return;
        }
        let result = match self.last_checkpoint.as_ref().and_then(|path| path.parent()) {
            Some(folder) => Recorded::up_to(self.state.global_step, folder),
            None => self.before_training(),
        };
        match result {
            Ok(recorded) => self.report = recorded,
            Err(error) => self.warn_of_report(&error),
        }
    }

    /// What is known before the first step: scores of a sample of rows, where no evaluator will
    /// give any.
    fn before_training(&self) -> Result<Recorded, Error> {
        let mut recorded = Recorded::default();
        if self.setup.parts.evaluators.is_empty() {
            let scored = self.score_sample()?;
            recorded.sample = scored.map(|ScoredRows { of, scores }| SampledScores {
                of,
                before: scores,
                after: None,
            });
        }
        Ok(recorded)
    }

    fn score_sample(&self) -> Result<Option<ScoredRows>, Error> {
        let parts = self.setup.parts;
        let sets = parts.eval_sets.iter().chain(parts.train_sets);
        let Some(set) = sets.into_iter().next() else { return Ok(None) };
        let what = if parts.eval_sets.is_empty() { "training" } else { "evaluation" };
        let arguments = parts.arguments;
        let batch = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps;
        let trained = self.setup.length.max_steps * batch as u64;
        let device = self.model.model().device();
        // Neither side keeps the memory that the other needs.
        device.release_working_memory();
        let scored = sampled_scores(&*self.model, set, what, trained);
        device.release_working_memory();
        scored
    }

    /// What the evaluators of the evaluation that is due give their details to.
    pub(super) fn collector(&self) -> Option<DetailCollector> {
        let wanted = self.setup.parts.arguments.write_report;
        let earlier = self.report.first.as_ref().map(|first| first.details.clone());
        let when = format!("step {}", self.state.global_step);
        wanted.then(|| DetailCollector::new(when, earlier.unwrap_or_default()))
    }

    /// Keeps the details of an evaluation.
    pub(super) fn keep_details(&mut self, collector: Option<DetailCollector>) {
        if let Some(collector) = collector {
            let (step, details) = (self.state.global_step, collector.into_details());
            self.report.add(Evaluated { step, details });
        }
    }

    /// Notes that the latest evaluation is the best.
    pub(super) fn keep_best_details(&mut self) {
        self.report.best.clone_from(&self.report.latest);
    }

    /// Scores the sample of rows again, with the trained model.
    pub(super) fn end_report(&mut self) {
        if self.report.sample.is_none() {
            return;
        }
        match self.score_sample() {
            Ok(scored) => {
                let sample = self.report.sample.as_mut().expect("it is there");
                sample.after = scored.map(|scored| scored.scores);
            }
            Err(error) => self.warn_of_report(&error),
        }
    }

    /// Writes the page, about a model of `model_step`.
    pub(super) fn write_report(&self, model_step: u64) {
        if !self.setup.parts.arguments.write_report {
            return;
        }
        if let Err(error) = self.try_to_write_report(model_step) {
            self.warn_of_report(&error);
        }
    }

    fn try_to_write_report(&self, model_step: u64) -> Result<(), Error> {
        let parts = self.setup.parts;
        let folder = &parts.arguments.output_dir;
        self.report.write(folder)?;
        let record = RunRecord::read(folder)?;
        let page = RunPage {
            arguments: parts.arguments,
            state: &self.state,
            kind: self.model.kind(),
            base_model: self.model.base_model(),
            model_step,
            sets: [parts.train_sets, parts.eval_sets],
            evaluations: &self.evaluations,
            recorded: &self.report,
            timing: self.timing,
            first_step: self.first_step,
            environments: record.map_or_else(Vec::new, |record| record.environments),
            recipe: parts.origin.recipe.as_deref(),
        };
        Ok(write_atomically(&folder.join(REPORT), page.html()?.as_bytes())?)
    }

    fn warn_of_report(&self, error: &Error) {
        let text = format!("{REPORT}: {error}; the run goes on without it");
        self.setup.parts.reporter.warning(&text);
    }
}
