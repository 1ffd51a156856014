//! What happens around the steps of a run: beginning, resuming, logging, saving, ending.

use crate::evaluation::Evaluator;
use crate::losses::Loss;
use crate::model_card::{self, EvaluationResult, ExampleScores, ModelCardData, Timing};
use crate::training::checkpoint::{self, Snapshot};
use crate::training::optimizer::Optimizer;
use crate::training::{
    Callback, Checkpoint, Chunking, Dataset, IntervalStrategy, LogRecord, LossScaler, Position,
    PreparedBatch, Preparer, ResumeFrom, RunLength, Sampler, Schedule, TrainOutput, Trainer,
    TrainerState, TrainingArguments, plot,
};
use crate::{Error, Metrics};
use rankforge_data::Rows;
use rankforge_encoder::{Model, Reporter, Trainable, Workspace};
use rankforge_kernels::{Arena, Precision};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// A run in progress: the trainer's parts, and what belongs to this run only.
pub(super) struct Run<'a, M: Trainable> {
    pub(super) model: &'a mut M,
    pub(super) arguments: &'a TrainingArguments,
    pub(super) train_dataset: &'a Rows,
    pub(super) eval_dataset: Option<&'a Rows>,
    pub(super) loss: &'a dyn Loss,
    pub(super) evaluators: &'a [Box<dyn Evaluator<M>>],
    pub(super) callbacks: &'a mut [Box<dyn Callback>],
    pub(super) card: &'a ModelCardData,
    pub(super) example_scores: Option<ExampleScores<M>>,
    pub(super) stop: &'a AtomicBool,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) state: &'a mut TrainerState,
    pub(super) evaluations: &'a mut Vec<EvaluationResult>,
    pub(super) timing: &'a mut Timing,
    pub(super) evaluation: Option<(Preparer<'a>, Vec<Vec<usize>>)>,
    pub(super) length: RunLength,
    pub(super) warmup: u64,
    pub(super) schedule: Schedule,
    pub(super) optimizer: Optimizer,
    /// Of fp16 only.
    pub(super) loss_scaler: Option<LossScaler>,
    pub(super) chunking: Chunking,
    pub(super) gradients: Arena,
    pub(super) gradients_checked: bool,
    pub(super) workspace: Workspace,
    pub(super) position: Position,
    pub(super) last_checkpoint: Option<PathBuf>,
    pub(super) rows_seen: u64,
    pub(super) sequences_seen: u64,
    pub(super) sequences_truncated: u64,
    pub(super) first_step: u64,
    pub(super) begun: Instant,
}

/// What is to be done after a step or an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) log: bool,
    pub(super) evaluate: bool,
    pub(super) save: bool,
}

impl<'a, M: Trainable> Run<'a, M> {
    /// Checks everything that can be checked before the first step, and allocates.
    pub(super) fn new(
        trainer: &'a mut Trainer<'_, M>,
    ) -> Result<(Run<'a, M>, Preparer<'a>, Sampler), Error> {
        let arguments = &trainer.arguments;
        arguments.validate()?;
        trainer.loss_scaler.validate()?;
        check_evaluation(trainer)?;
        let loss = &*trainer.loss;
        let model = &mut trainer.model;
        warn_without_effect(arguments.precision(), model.model(), trainer.reporter);
        loss.check_model(model.model().architecture().output_columns())?;
        let prompt = arguments.prompts.clone();
        let prompt = prompt.or_else(|| model.default_prompt().map(str::to_owned));
        let tokenizer = model.tokenizer();
        let prepare = |rows, what| {
            let dataset = Dataset::new(rows, what)?;
            Preparer::new(dataset, loss, tokenizer.clone(), prompt.clone(), arguments.seed)
        };
        let training = prepare(&trainer.train_dataset, "training data")?;
        let sample = |rows, batch_size| {
            let seed = arguments.data_seed.unwrap_or(arguments.seed);
            let drop_last = arguments.dataloader_drop_last;
            Sampler::new(arguments.batch_sampler, rows, batch_size, drop_last, seed)
        };
        let sampler = sample(&trainer.train_dataset, arguments.per_device_train_batch_size);
        let evaluation = match &trainer.eval_dataset {
            None => None,
            Some(rows) => {
                // The same batches at every evaluation, so that the losses can be compared.
                let drawn = sample(rows, arguments.per_device_eval_batch_size).epoch(0);
                Some((prepare(rows, "evaluation data")?, drawn.batches))
            }
        };
        let length = RunLength::new(
            sampler.batches_per_epoch(),
            arguments.gradient_accumulation_steps,
            arguments.max_steps,
            arguments.num_train_epochs,
        );
        let warmup = arguments.warmup_steps.resolve(length.max_steps);
        let schedule = Schedule::new(
            arguments.lr_scheduler_type,
            &arguments.lr_scheduler_kwargs,
            warmup,
            length.max_steps,
            arguments.learning_rate,
        )?;
        // Where nothing can be written, hours of training would be lost.
        let output_dir = &arguments.output_dir;
        std::fs::create_dir_all(output_dir)
            .map_err(|source| Error::Io { path: output_dir.clone(), source })?;
        let parameters = model.model().parameters();
        let run = Run {
            optimizer: Optimizer::new(model.model(), arguments)?,
            loss_scaler: arguments.fp16.then(|| trainer.loss_scaler.clone()),
            gradients: Arena::zeros(parameters.device(), parameters.layout().clone()),
            workspace: Workspace::new(parameters.device()),
            model,
            arguments,
            train_dataset: &trainer.train_dataset,
            eval_dataset: trainer.eval_dataset.as_ref(),
            loss,
            evaluators: &trainer.evaluators,
            callbacks: &mut trainer.callbacks,
            card: &trainer.card,
            example_scores: trainer.example_scores,
            stop: &trainer.stop,
            reporter: trainer.reporter,
            state: &mut trainer.state,
            evaluations: &mut trainer.evaluations,
            timing: &mut trainer.timing,
            evaluation,
            length,
            warmup,
            schedule,
            chunking: Chunking {
                mini_batch_size: loss.mini_batch_size(),
                max_tokens: arguments.max_tokens_per_chunk,
            },
            gradients_checked: false,
            position: Position { dataset_rows: trainer.train_dataset.len(), ..Position::default() },
            last_checkpoint: None,
            rows_seen: 0,
            sequences_seen: 0,
            sequences_truncated: 0,
            first_step: 0,
            begun: Instant::now(),
        };
        Ok((run, training, sampler))
    }

    /// Sets the state, and continues from a checkpoint when one is asked for.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        let (arguments, total) = (self.arguments, self.length.max_steps);
        *self.timing = Timing::default();
        self.evaluations.clear();
        *self.state = TrainerState {
            eval_steps: arguments.eval_interval().resolve(total),
            logging_steps: arguments.logging_steps.resolve(total),
            save_steps: arguments.save_steps.resolve(total),
            max_steps: total,
            num_train_epochs: self.length.epochs,
            train_batch_size: arguments.per_device_train_batch_size,
            is_local_process_zero: true,
            is_world_process_zero: true,
            ..TrainerState::default()
        };
        self.resume()?;
        self.first_step = self.state.global_step;
        self.reporter.begin("training", Some(total), "step");
        self.reporter.advance(self.state.global_step);
        self.callbacks.iter_mut().for_each(|callback| callback.on_train_begin(self.state));
        Ok(())
    }

    fn resume(&mut self) -> Result<(), Error> {
        let output_dir = &self.arguments.output_dir;
        let found = match &self.arguments.resume_from_checkpoint {
            Some(ResumeFrom::Newest(true)) => Checkpoint::newest(output_dir)?,
            Some(ResumeFrom::Path(path)) => Checkpoint::read(path)?,
            None | Some(ResumeFrom::Newest(false)) => {
                if let Some((step, _)) = checkpoint::checkpoints(output_dir)?.last() {
                    self.reporter.warning(&format!(
                        "{} holds checkpoints of an earlier run, up to step {step}; this run \
                         starts from the beginning and replaces those of equal steps",
                        output_dir.display()
                    ));
                }
                return Ok(());
            }
        };
        for warning in found.compare(self.arguments, self.train_dataset.len())? {
            self.reporter.warning(&warning);
        }
        found.restore(self.model, &mut self.optimizer)?;
        // The intervals and the length are those of this run's arguments.
        let TrainerState { eval_steps, logging_steps, save_steps, max_steps, .. } = *self.state;
        let num_train_epochs = self.state.num_train_epochs;
        let train_batch_size = self.state.train_batch_size;
        *self.state = TrainerState {
            eval_steps,
            logging_steps,
            save_steps,
            max_steps,
            num_train_epochs,
            train_batch_size,
            ..found.state
        };
        self.position = found.position;
        if self.arguments.ignore_data_skip {
            self.position.batches = 0;
            self.position.dataset_rows = self.train_dataset.len();
        }
        // A run that was not one of fp16 has no scale; it begins with the trainer's.
        if let (Some(scaler), Some(found)) = (&mut self.loss_scaler, found.loss_scaler) {
            *scaler = found;
        }
        self.gradients_checked = self.steps_learned() > 0;
        let step = self.state.global_step;
        self.reporter.message(&format!("resuming after step {step} from {}", found.path.display()));
        self.last_checkpoint = Some(found.path);
        Ok(())
    }

    /// Writes a checkpoint and the plot, then deletes checkpoints beyond the limit.
    pub(super) fn save_checkpoint(&mut self, only_model: bool) -> Result<PathBuf, Error> {
        let output_dir = &self.arguments.output_dir;
        let step = self.state.global_step;
        if self.state.best_global_step == Some(step) {
            self.state.best_model_checkpoint = Some(checkpoint::checkpoint_path(output_dir, step));
        }
        self.timing.training = self.begun.elapsed().as_secs_f64() - self.timing.evaluation;
        let card = self.model_card()?;
        let snapshot = Snapshot {
            optimizer: &self.optimizer,
            state: self.state,
            position: &self.position,
            loss_scaler: self.loss_scaler.as_ref(),
            arguments: self.arguments,
            last_learning_rate: self.position.last_step.learning_rate,
            warmup: self.warmup,
        };
        let path = checkpoint::save(self.model, &card, &snapshot, only_model)?;
        self.write_plot()?;
        self.last_checkpoint = Some(path.clone());
        if let Some(limit) = self.arguments.save_total_limit {
            let best = self.state.best_model_checkpoint.as_deref();
            checkpoint::rotate(output_dir, limit, step, best)?;
        }
        self.callbacks.iter_mut().for_each(|callback| callback.on_save(self.state, &path));
        Ok(path)
    }

    fn model_card(&self) -> Result<String, Error> {
        model_card::render(
            self.model,
            self.card,
            Some(&model_card::TrainingReport {
                arguments: self.arguments,
                state: self.state,
                train_dataset: self.train_dataset,
                eval_dataset: self.eval_dataset,
                loss: self.loss,
                evaluations: self.evaluations,
                timing: *self.timing,
            }),
            self.example_scores,
        )
    }

    fn write_plot(&self) -> Result<(), Error> {
        let title = self.arguments.run_name.as_deref().unwrap_or("training");
        let metric = self.arguments.best_metric().or_else(|| {
            let last = self.evaluations.last()?;
            Some(format!("eval_{}", last.primary_metric))
        });
        let svg = plot::plot(title, &self.state.log_history, metric.as_deref());
        checkpoint::write_text(&self.arguments.output_dir.join("training.svg"), &svg)
    }

    /// Logs the run as a whole, goes back to the best parameters when asked, writes the state.
    pub(super) fn finish(mut self) -> Result<TrainOutput, Error> {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.timing.training = seconds - self.timing.evaluation;
        let steps = self.state.global_step - self.first_step;
        // Not a number, rather than zero, when every loss overflowed.
        let training_loss = match self.state.global_step {
            0 => 0.0,
            all => self.position.total_loss / (all - self.position.overflowed_losses) as f64,
        };
        let mut metrics = Metrics::new();
        metrics.insert("train_runtime", seconds);
        metrics.insert("train_samples_per_second", self.rows_seen as f64 / seconds);
        metrics.insert("train_steps_per_second", steps as f64 / seconds);
        metrics.insert("total_flos", self.state.total_flos);
        metrics.insert("train_loss", training_loss);
        let record: LogRecord =
            metrics.0.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        self.add_record(record);
        if self.sequences_truncated > 0 {
            self.reporter.warning(&format!(
                "{} of {} training inputs were longer than the maximum length of {} tokens and \
                 were cut",
                self.sequences_truncated,
                self.sequences_seen,
                self.model.tokenizer().max_length().unwrap_or(usize::MAX)
            ));
        }
        if self.position.skipped_steps > 0 {
            self.reporter.warning(&format!(
                "{} of {} steps were skipped, as their loss or gradients overflowed in fp16",
                self.position.skipped_steps, self.state.global_step
            ));
        }
        let best = self.state.best_model_checkpoint.as_ref();
        if let Some(best) = best.filter(|_| self.arguments.load_best_model_at_end) {
            self.model.load_parameters(best)?;
            self.reporter.message(&format!("took the best parameters, of {}", best.display()));
        }
        checkpoint::write_json(
            &self.arguments.output_dir.join("trainer_state.json"),
            &*self.state,
        )?;
        self.write_plot()?;
        self.callbacks.iter_mut().for_each(|callback| callback.on_train_end(self.state));
        Ok(TrainOutput { global_step: self.state.global_step, training_loss, metrics })
    }

    pub(super) fn count_truncated(&mut self, batch: &PreparedBatch) {
        self.sequences_seen += batch.tokens.len() as u64;
        let truncated = batch.tokens.iter().filter(|sequence| sequence.truncated > 0).count();
        self.sequences_truncated += truncated as u64;
    }
}

impl<M: Trainable> Trainer<'_, M> {
    /// Checks before the training that [`Trainer::save_model`] may write to `directory` after it.
    ///
    /// # Errors
    /// When `directory` holds something else than a model.
    pub fn check_destination(&self, directory: &std::path::Path) -> Result<(), Error> {
        let replaceable =
            ["config.json", "modules.json"].iter().any(|f| directory.join(f).exists());
        let empty =
            || std::fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none());
        if directory.exists() && !replaceable && !empty() {
            return Err(Error::File {
                path: directory.to_owned(),
                message: "expected an empty folder or an earlier model, got other files".to_owned(),
            });
        }
        Ok(())
    }

    /// Writes the model with its card to `directory`, in place of an earlier model there.
    ///
    /// # Errors
    /// When `directory` holds something else than a model, or a file cannot be written.
    pub fn save_model(&self, directory: &std::path::Path) -> Result<(), Error> {
        self.check_destination(directory)?;
        let card = self.model_card()?;
        checkpoint::write_directory(directory, |folder| {
            Ok(self.model.save_files(folder, Some(&card))?)
        })
    }

    /// The model card as it is now.
    ///
    /// # Errors
    /// When the examples cannot be scored or the tokenizer refuses a text.
    pub fn model_card(&self) -> Result<String, Error> {
        let report = model_card::TrainingReport {
            arguments: &self.arguments,
            state: &self.state,
            train_dataset: &self.train_dataset,
            eval_dataset: self.eval_dataset.as_ref(),
            loss: &*self.loss,
            evaluations: &self.evaluations,
            timing: self.timing,
        };
        model_card::render(&self.model, &self.card, Some(&report), self.example_scores)
    }
}

fn check_evaluation<M: Trainable>(trainer: &Trainer<'_, M>) -> Result<(), Error> {
    let strategy = trainer.arguments.eval_strategy;
    let evaluates = strategy != IntervalStrategy::No || trainer.arguments.eval_on_start;
    if evaluates && trainer.eval_dataset.is_none() && trainer.evaluators.is_empty() {
        let got = serde_json::to_value(strategy).ok();
        return Err(Error::Argument {
            field: "eval_strategy".to_owned(),
            expected: "no, as there is neither an evaluation data set nor an evaluator".to_owned(),
            got: got.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
        });
    }
    Ok(())
}

fn warn_without_effect(precision: Precision, model: &Model, reporter: &dyn Reporter) {
    if precision != Precision::Float32 && !model.architecture().has_linear_layers() {
        reporter.warning(&format!("{precision} = true has no effect: there is no linear layer"));
    }
}
