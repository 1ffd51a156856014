//! The mutable state of a training run, and what surrounds its steps: resuming, checkpoints and the
//! final summary.

use crate::arguments::ResumeFrom;
use crate::error::Error;
use crate::metrics::Metrics;
use crate::model_card::{self, EvaluationResult, ReportedSet, Timing};
use crate::trainer_state::{LogRecord, TrainerState, step_of};
use crate::training::batches::PreparedBatch;
use crate::training::callbacks::Callback;
use crate::training::checkpoint::{self, Checkpoint, RunFile, Snapshot};
use crate::training::definition::RunDefinition;
use crate::training::earlier_runs::set_aside;
use crate::training::gradient_cache::GradientCache;
use crate::training::log_file::LogFile;
use crate::training::loss_scaler::LossScaler;
use crate::training::optimizers::Optimizers;
use crate::training::position::Position;
use crate::training::report::Recorded;
use crate::training::setup::{Parts, Setup};
use crate::training::training_set::TrainingSet;
use rankforge_base::{claim_directory, cpu_seconds};
use rankforge_encoder::{MODEL_DIRECTORY, TextModel};
use rankforge_trackers::Trackers;
use serde_json::json;
use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

/// The result of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainOutput {
    /// Number of optimizer steps, including those before a checkpoint that was resumed from.
    pub global_step: u64,
    /// The step whose parameters the model has: the last one, or that of the best checkpoint if it
    /// was loaded.
    pub model_step: u64,
    /// Mean loss of all steps.
    pub training_loss: f64,
    /// The last log record: run time, steps and samples per second, loss.
    pub metrics: Metrics,
    /// State of the trainer, with the log and the best step.
    pub state: TrainerState,
    /// Result of each evaluator at [`TrainOutput::model_step`], or at the last evaluation before.
    pub evaluations: Vec<EvaluationResult>,
    /// Durations of training and evaluation.
    pub timing: Timing,
}

impl TrainOutput {
    /// The log record of the last evaluation up to [`TrainOutput::model_step`], with the figures of
    /// the model.
    pub fn evaluation(&self) -> Option<&LogRecord> {
        let is_evaluation = |record: &LogRecord| record.keys().any(|key| key.starts_with("eval_"));
        let log = self.state.log_history.iter().rev();
        let mut before =
            log.filter(|record| step_of(record).is_some_and(|step| step <= self.model_step));
        before.find(|record| is_evaluation(record))
    }
}

/// A run in progress.
pub(super) struct Run<'a, M: TextModel> {
    pub(super) setup: &'a Setup<'a, M>,
    pub(super) model: &'a mut M,
    pub(super) callbacks: &'a mut [Box<dyn Callback>],
    pub(super) optimizer: Optimizers,
    /// Dynamic loss scale; in fp16 only.
    pub(super) loss_scaler: Option<LossScaler>,
    pub(super) cache: GradientCache,
    /// Whether the gradients of the first step have been checked.
    pub(super) gradients_checked: bool,
    pub(super) state: TrainerState,
    pub(super) position: Position,
    /// Model, losses and data of the run, for its checkpoints.
    pub(super) definition: RunDefinition,
    pub(super) evaluations: Vec<EvaluationResult>,
    pub(super) timing: Timing,
    pub(super) last_checkpoint: Option<PathBuf>,
    pub(super) seen: Seen,
    pub(super) first_step: u64,
    /// Whether the output directory has the record of the run.
    pub(super) recorded: bool,
    pub(super) begun: Instant,
    pub(super) log_file: LogFile,
    pub(super) trackers: Option<Trackers>,
    /// What had been seen at the last record of losses, and after how many seconds of training.
    pub(super) logged: (Seen, f64),
    /// What the page about the run shows besides log and metrics.
    pub(super) report: Recorded,
    /// CPU time of the process when the run began, in seconds.
    pub(super) cpu_begun: Option<f64>,
    /// Keeps other processes from training in the same output directory.
    _claim: Option<File>,
}

/// Counts of the training data since the run began or was resumed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) rows: u64,
    pub(super) sequences: u64,
    pub(super) truncated: u64,
    pub(super) tokens: u64,
}

/// The actions that are due after a step or an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) log: bool,
    pub(super) evaluate: bool,
    pub(super) save: bool,
}

impl<'a, M: TextModel> Run<'a, M> {
    /// Allocates gradients and moments, resumes from a checkpoint when the arguments name one, and
    /// moves checkpoints of other runs out of the way.
    ///
    /// # Errors
    /// A checkpoint that cannot be used or is of another run, a learning rate for a parameter that
    /// does not exist, or an output directory that another process trains in.
    pub(super) fn begin(
        setup: &'a Setup<'a, M>,
        model: &'a mut M,
        callbacks: &'a mut [Box<dyn Callback>],
        loss_scaler: &LossScaler,
    ) -> Result<Run<'a, M>, Error> {
        let Parts { arguments, train_sets, eval_sets, .. } = setup.parts;
        let total = setup.length.max_steps;
        let claim = claim_directory(&arguments.output_dir)?;
        // Before gradients and moments are allocated, as it copies parts of the parameters.
        let definition = setup.definition(model)?;
        let state = TrainerState {
            eval_steps: arguments.eval_interval().resolve(total),
            logging_steps: arguments.logging_steps.resolve(total),
            save_steps: arguments.save_steps.resolve(total),
            max_steps: total,
            num_train_epochs: setup.length.epochs,
            train_batch_size: arguments.per_device_train_batch_size,
            is_local_process_zero: true,
            is_world_process_zero: true,
            ..TrainerState::default()
        };
        let mut run = Run {
            optimizer: Optimizers::new(model.model(), train_sets, eval_sets, arguments)?,
            loss_scaler: arguments.fp16.then(|| loss_scaler.clone()),
            cache: GradientCache::new(model.model())
                .with_recomputation(arguments.gradient_checkpointing),
            setup,
            model,
            callbacks,
            gradients_checked: false,
            state,
            position: setup.start(),
            definition,
            evaluations: Vec::new(),
            timing: Timing::default(),
            last_checkpoint: None,
            seen: Seen::default(),
            first_step: 0,
            recorded: false,
            report: Recorded::default(),
            #[expect(clippy::disallowed_methods, reason = "a run is timed")]
            begun: Instant::now(),
            log_file: LogFile::new(&arguments.output_dir),
            trackers: None,
            logged: Default::default(),
            cpu_begun: cpu_seconds(),
            _claim: claim,
        };
        run.resume()?;
        run.clear_output_directory()?;
        run.first_step = run.state.global_step;
        run.compare_with_repeated();
        run.begin_trackers();
        run.begin_report();
        run.callbacks.iter_mut().for_each(|callback| callback.on_train_begin(&run.state));
        Ok(run)
    }

    /// Restores the state of the checkpoint that the arguments name, if they name one.
    ///
    /// # Errors
    /// A checkpoint that cannot be used.
    fn resume(&mut self) -> Result<(), Error> {
        let Parts { arguments, train_sets, reporter, .. } = self.setup.parts;
        let output_dir = &arguments.output_dir;
        let found = match &arguments.resume_from_checkpoint {
            Some(ResumeFrom::Newest(true)) => {
                let newest = Checkpoint::newest(output_dir)?;
                for text in checkpoint::incomplete_after(output_dir, newest.state.global_step)? {
                    reporter.warning(&text);
                }
                newest
            }
            Some(ResumeFrom::Path(path)) => Checkpoint::read(path)?,
            None | Some(ResumeFrom::Newest(false)) => return Ok(()),
        };
        for warning in found.compare(arguments, train_sets, &self.definition)? {
            reporter.warning(&warning);
        }
        found.restore(self.model, &mut self.optimizer)?;
        self.adopt_definition(&found)?;
        // Intervals and run length follow this run's arguments, not those of the checkpoint.
        self.state = TrainerState {
            eval_steps: self.state.eval_steps,
            logging_steps: self.state.logging_steps,
            save_steps: self.state.save_steps,
            max_steps: self.state.max_steps,
            num_train_epochs: self.state.num_train_epochs,
            train_batch_size: self.state.train_batch_size,
            ..found.state.clone()
        };
        self.find_best(&found)?;
        self.position = found.position;
        let Position { dataset_rows, dataset_names, .. } = self.setup.start();
        (self.position.dataset_rows, self.position.dataset_names) = (dataset_rows, dataset_names);
        if arguments.ignore_data_skip {
            self.position.batches = 0;
        }
        // A checkpoint of a run without fp16 has no loss scale. The trainer's initial one is used.
        if let (Some(scaler), Some(found)) = (&mut self.loss_scaler, found.loss_scaler) {
            *scaler = found;
        }
        self.gradients_checked = self.steps_learned() > 0;
        let step = self.state.global_step;
        reporter.message(&format!("resuming after step {step} from {}", found.path.display()));
        self.last_checkpoint = Some(found.path);
        Ok(())
    }

    /// Checks that the run began with the model of the checkpoint's run, and takes over the hash of
    /// that model and the latest evaluations.
    fn adopt_definition(&mut self, found: &Checkpoint) -> Result<(), Error> {
        let Some(RunFile { definition, evaluations }) = &found.run else { return Ok(()) };
        if self.definition.model != definition.model {
            let resumed = self.model.parts().digest()?;
            definition.compare_model(&self.definition, &resumed, &found.path)?;
            self.definition.model.clone_from(&definition.model);
        }
        self.evaluations.clone_from(evaluations);
        Ok(())
    }

    /// Moves checkpoints of other runs out of the way, and removes what a killed process left.
    fn clear_output_directory(&self) -> Result<(), Error> {
        let output_dir = &self.setup.parts.arguments.output_dir;
        let resumed = self.last_checkpoint.as_deref();
        let resumed = resumed.map(|path| (self.state.global_step, path));
        if let Some(moved) = set_aside(output_dir, resumed)? {
            self.setup.parts.reporter.warning(&moved);
        }
        checkpoint::CHECKPOINT.remove_abandoned(output_dir);
        MODEL_DIRECTORY.remove_abandoned(output_dir);
        Ok(())
    }

    /// Writes a checkpoint and the plot, then deletes checkpoints beyond the limit.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn save_checkpoint(&mut self, only_model: bool) -> Result<PathBuf, Error> {
        let arguments = self.setup.parts.arguments;
        let (output_dir, step) = (&arguments.output_dir, self.state.global_step);
        if self.state.best_global_step == Some(step) {
            self.state.best_model_checkpoint = Some(checkpoint::checkpoint_path(output_dir, step));
        }
        self.take_time();
        let card =
            model_card::render(&*self.model, self.setup.parts.card, Some(&self.training_report()))?;
        let snapshot = Snapshot {
            optimizer: &self.optimizer,
            state: &self.state,
            position: &self.position,
            definition: &self.definition,
            evaluations: &self.evaluations,
            loss_scaler: self.loss_scaler.as_ref(),
            arguments,
            last_learning_rate: self.position.last_step.learning_rate,
            warmup: self.setup.warmup,
        };
        let path = checkpoint::save(self.model, &card, &snapshot, only_model)?;
        self.write_plot()?;
        self.write_report(step);
        self.last_checkpoint = Some(path.clone());
        if let Some(limit) = arguments.save_total_limit {
            let best = self.state.best_model_checkpoint.as_deref();
            checkpoint::rotate(output_dir, limit, best)?;
        }
        self.callbacks.iter_mut().for_each(|callback| callback.on_save(&self.state, &path));
        Ok(path)
    }

    /// Logs a summary of the run, loads the best parameters if the arguments request it, and writes
    /// the state and the plot.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(super) fn finish(mut self) -> Result<TrainOutput, Error> {
        let arguments = self.setup.parts.arguments;
        let seconds = self.take_time();
        let steps = self.state.global_step - self.first_step;
        // NaN rather than 0 when every loss overflowed.
        let training_loss = match self.state.global_step {
            0 => 0.0,
            all => self.position.total_loss / (all - self.position.overflowed_losses) as f64,
        };
        let mut metrics = Metrics::new();
        metrics.insert("train_runtime", seconds);
        metrics.insert("train_samples_per_second", self.seen.rows as f64 / seconds);
        metrics.insert("train_steps_per_second", steps as f64 / seconds);
        metrics.insert("total_flos", self.state.total_flos);
        metrics.insert("train_loss", training_loss);
        let record: LogRecord =
            metrics.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        self.add_record(record);
        self.warn_at_end();
        self.write_record()?;
        let model_step = self.load_best();
        checkpoint::write_json(&arguments.output_dir.join("trainer_state.json"), &self.state)?;
        self.write_plot()?;
        self.end_report();
        self.write_report(model_step);
        self.callbacks.iter_mut().for_each(|callback| callback.on_train_end(&self.state));
        self.end_trackers(Ok(()));
        let Run { state, evaluations, timing, .. } = self;
        let global_step = state.global_step;
        Ok(TrainOutput {
            global_step,
            model_step,
            training_loss,
            metrics,
            state,
            evaluations,
            timing,
        })
    }

    /// Warns about truncated inputs and skipped steps.
    fn warn_at_end(&self) {
        let reporter = self.setup.parts.reporter;
        if self.seen.truncated > 0 {
            reporter.warning(&format!(
                "{} of {} training inputs were longer than the maximum length of {} tokens and \
                 were truncated",
                self.seen.truncated,
                self.seen.sequences,
                self.model.max_length().unwrap_or(usize::MAX)
            ));
        }
        if self.position.skipped_steps > 0 {
            reporter.warning(&format!(
                "{} of {} steps were skipped, as their loss or gradients overflowed in fp16",
                self.position.skipped_steps, self.state.global_step
            ));
        }
    }

    /// Counts the sequences of a batch, and those that were truncated.
    pub(super) fn count(&mut self, batch: &PreparedBatch) {
        self.seen.sequences += batch.tokens.len() as u64;
        let truncated = batch.tokens.iter().filter(|sequence| sequence.truncated).count();
        self.seen.truncated += truncated as u64;
    }
}

/// Data sets in the form that the model card needs.
pub(super) fn reported(sets: &[TrainingSet]) -> Vec<ReportedSet<'_>> {
    sets.iter()
        .map(|set| ReportedSet {
            name: &set.name,
            rows: &*set.rows,
            columns: set.columns.as_deref(),
            loss: &*set.loss,
        })
        .collect()
}
