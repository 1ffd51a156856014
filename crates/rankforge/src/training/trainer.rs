use crate::evaluation::Evaluator;
use crate::losses::Loss;
use crate::model_card::{EvaluationResult, ExampleScores, ModelCardData, Timing};
use crate::training::checkpoint::checkpoint_path;
use crate::training::health::check_gradients;
use crate::training::run::{Due, Run};
use crate::training::{
    Callback, Flow, IntervalStrategy, LossScaler, LossWindow, PreparedBatch, Preparer, Sampler,
    SaveStrategy, StepReport, TrainerState, TrainingArguments, loss_and_gradients,
};
use crate::{Error, Metrics};
use rankforge_data::Rows;
use rankforge_encoder::{Reporter, Trainable};
use rankforge_kernels::ops;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

/// Added to the norm when gradients are clipped, as PyTorch does.
const CLIPPING_EPSILON: f64 = 1e-6;

/// Trains a model on rows: what a run needs, and afterwards what it found.
///
/// The loop reads from [`Trainer::train`] downwards.
pub struct Trainer<'a, M: Trainable> {
    /// The model; its parameters change.
    pub model: M,
    /// How it is trained.
    pub arguments: TrainingArguments,
    /// What it learns from.
    pub train_dataset: Rows,
    /// What the evaluation loss is computed on.
    pub eval_dataset: Option<Rows>,
    /// What it learns to make small.
    pub loss: Box<dyn Loss>,
    /// What it is measured by during training.
    pub evaluators: Vec<Box<dyn Evaluator<M>>>,
    /// Who watches.
    pub callbacks: Vec<Box<dyn Callback>>,
    /// What the model card says besides what the run knows.
    pub card: ModelCardData,
    /// Scores the examples of the model card, which shows shapes without.
    pub example_scores: Option<ExampleScores<M>>,
    /// Where the loss scale of an fp16 run begins, and how it changes.
    pub loss_scaler: LossScaler,
    /// Set to true by another thread, ends the run after the step at hand with a checkpoint.
    pub stop: Arc<AtomicBool>,
    /// Where progress goes.
    pub reporter: &'a dyn Reporter,
    /// The state of the last run.
    pub state: TrainerState,
    /// The latest result of each evaluator, for the model card.
    pub evaluations: Vec<EvaluationResult>,
    pub(super) timing: Timing,
}

/// What a finished run gives.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOutput {
    /// Optimizer steps done, those before a resumed checkpoint included.
    pub global_step: u64,
    /// Mean loss of all steps.
    pub training_loss: f64,
    /// The last log record: run time, speed, loss.
    pub metrics: Metrics,
}

impl<'a, M: Trainable> Trainer<'a, M> {
    /// A trainer without evaluation; the other fields can be set before [`Trainer::train`].
    pub fn new(
        model: M,
        arguments: TrainingArguments,
        train_dataset: Rows,
        loss: Box<dyn Loss>,
        reporter: &'a dyn Reporter,
    ) -> Trainer<'a, M> {
        Trainer {
            model,
            arguments,
            train_dataset,
            eval_dataset: None,
            loss,
            evaluators: Vec::new(),
            callbacks: Vec::new(),
            card: ModelCardData::default(),
            example_scores: None,
            loss_scaler: LossScaler::default(),
            stop: Arc::new(AtomicBool::new(false)),
            reporter,
            state: TrainerState::default(),
            evaluations: Vec::new(),
            timing: Timing::default(),
        }
    }

    /// Trains to the end, from the beginning or from the checkpoint that the arguments name. The
    /// model is not saved, apart from checkpoints; see [`Trainer::save_model`].
    ///
    /// While this runs, the model has the arguments' precision; then its own again.
    ///
    /// # Errors
    /// Arguments, data or a checkpoint that cannot be used; a loss or gradient that is not finite
    /// (in fp16: at any loss scale); a file that cannot be written; an interruption, whose message names the checkpoint.
    pub fn train(&mut self) -> Result<TrainOutput, Error> {
        let before = self.model.model().precision();
        self.model.model_mut().set_precision(self.arguments.precision());
        let result = self.train_as_set();
        self.model.model_mut().set_precision(before);
        result
    }

    fn train_as_set(&mut self) -> Result<TrainOutput, Error> {
        let (mut run, training, sampler) = Run::new(self)?;
        run.begin()?;
        let result = run.epochs(&training, &sampler);
        run.reporter.end();
        result?;
        run.finish()
    }
}

/// What the batches of a step gave besides gradients.
#[derive(Default)]
struct Accumulated {
    losses: LossWindow,
    tokens: usize,
    rows: Vec<usize>,
}

impl<M: Trainable> Run<'_, M> {
    /// Epoch after epoch, from where the run is to its last step.
    fn epochs(&mut self, training: &Preparer<'_>, sampler: &Sampler) -> Result<(), Error> {
        if self.arguments.eval_on_start && self.state.global_step == 0 {
            self.perform(Due { evaluate: true, ..Due::default() })?;
        }
        let by_steps = self.arguments.max_steps > 0;
        // A run that was interrupted between the last step of an epoch and its end has that end left.
        while self.position.batches > 0
            || (self.state.global_step < self.length.max_steps
                && (by_steps || self.position.epoch < self.length.epochs))
        {
            let mut drawn = sampler.epoch(self.position.epoch);
            if drawn.batches.len() > self.length.batches_per_epoch {
                let more = drawn.batches.len() - self.length.batches_per_epoch;
                drawn.batches.truncate(self.length.batches_per_epoch);
                drawn.warning = Some(format!(
                    "NO_DUPLICATES cut the data into {more} batches more than an epoch has; the \
                     rows of the last ones are left out of this epoch"
                ));
            }
            if let Some(warning) = drawn.warning.filter(|_| self.position.epoch == 0) {
                self.reporter.warning(&warning);
            }
            if drawn.batches.is_empty() {
                let message = "the training data have not one full batch: dataloader_drop_last \
                               is set, so take smaller batches";
                return Err(Error::Input(message.to_owned()));
            }
            if self.epoch(training, &drawn.batches)? == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    /// The rest of an epoch, its next batch always prepared on another thread.
    fn epoch(&mut self, training: &Preparer<'_>, batches: &[Vec<usize>]) -> Result<Flow, Error> {
        let finished = |run: &Self| run.state.global_step >= run.length.max_steps;
        let mut flow = if finished(self) { Flow::Stop } else { Flow::Continue };
        std::thread::scope(|scope| {
            let done = self.position.batches;
            let first_draw = self.position.micro_batches;
            let prepared = training.prepare_ahead(scope, &batches[done..], first_draw);
            while self.position.batches < batches.len() && flow == Flow::Continue {
                // The last group of an epoch may be shorter, and its mean is over what it has.
                let left = batches.len() - self.position.batches;
                let group = left.min(self.arguments.gradient_accumulation_steps);
                let step = self.optimizer_step(&prepared, group)?;
                self.state.epoch = self.position.epoch as f64
                    + self.position.batches as f64 / batches.len() as f64;
                self.reporter.advance(1);
                for callback in self.callbacks.iter_mut() {
                    if callback.on_step_end(self.state, &step) == Flow::Stop {
                        flow = Flow::Stop;
                    }
                }
                if self.perform(self.due_after_step())? == Flow::Stop {
                    flow = Flow::Stop;
                }
                self.stop_if_interrupted()?;
                if finished(self) {
                    flow = Flow::Stop;
                }
            }
            Ok::<(), Error>(())
        })?;
        if finished(self) || self.position.batches == batches.len() {
            self.position.epoch += 1;
            self.position.batches = 0;
        }
        if self.perform(self.due_after_epoch())? == Flow::Stop {
            flow = Flow::Stop;
        }
        self.stop_if_interrupted()?;
        Ok(flow)
    }

    /// One optimizer step: the gradients of `group` batches, clipped, then AdamW. In fp16 a step
    /// whose loss or gradients overflow is skipped and makes the loss scale smaller.
    fn optimizer_step(
        &mut self,
        prepared: &Receiver<Result<PreparedBatch, Error>>,
        group: usize,
    ) -> Result<StepReport, Error> {
        // Every later step finds the zeros that the last one left. Negative zero is neutral in sums
        // and tells, after the first step, what was never added to.
        if !self.gradients_checked {
            self.gradients.flat_mut().fill(-0.0);
        }
        let Accumulated { losses, tokens, rows } = self.accumulate(prepared, group)?;
        let loss = losses.loss;
        let grad_norm = ops::sum_of_squares(self.gradients.flat()).sqrt() / self.loss_scale();
        let factor = self.schedule.factor(self.steps_learned());
        let skipped = !(loss.is_finite() && grad_norm.is_finite());
        if skipped {
            self.skip(loss, grad_norm, &rows)?;
        } else {
            self.learn(grad_norm, factor)?;
        }
        self.state.global_step += 1;
        self.state.num_input_tokens_seen += tokens as u64;
        self.rows_seen += rows.len() as u64;
        self.position.window.steps += 1;
        if loss.is_finite() {
            self.position.window.add(loss, &losses.components, 1.0);
            self.position.total_loss += loss;
        } else {
            self.position.window.overflowed += 1;
            self.position.overflowed_losses += 1;
        }
        let learning_rate = self.arguments.learning_rate * factor;
        let step = StepReport { loss, grad_norm, learning_rate, tokens, skipped };
        if !skipped {
            self.position.last_step = step;
        }
        Ok(step)
    }

    /// Adds up the gradients of `group` batches, times the loss scale.
    fn accumulate(
        &mut self,
        prepared: &Receiver<Result<PreparedBatch, Error>>,
        group: usize,
    ) -> Result<Accumulated, Error> {
        let share = 1.0 / group as f64;
        let scale = (share * self.loss_scale()) as f32;
        let mut sum = Accumulated::default();
        for _ in 0..group {
            let Ok(batch) = prepared.recv() else {
                unreachable!("the preparing thread sends every batch, or an error");
            };
            let batch = batch?;
            let result = loss_and_gradients(
                self.model.model(),
                self.loss,
                &batch,
                &self.chunking,
                scale,
                &mut self.workspace,
                &mut self.gradients,
            );
            if !result.value.is_finite() && self.loss_scaler.is_none() {
                return Err(self.not_finite("loss", result.value, &batch.rows));
            }
            sum.losses.add(result.value, &result.components, share);
            sum.tokens += batch.tokens.iter().map(|sequence| sequence.ids.len()).sum::<usize>();
            self.count_truncated(&batch);
            self.position.batches += 1;
            self.position.micro_batches += 1;
            sum.rows.extend(batch.rows);
        }
        Ok(sum)
    }

    /// Clipped AdamW on the gradients of the step.
    fn learn(&mut self, grad_norm: f64, factor: f64) -> Result<(), Error> {
        if !self.gradients_checked {
            check_gradients(&self.gradients, grad_norm, self.reporter)?;
            self.gradients_checked = true;
        }
        let limit = self.arguments.max_grad_norm;
        let clip =
            if limit > 0.0 { (limit / (grad_norm + CLIPPING_EPSILON)).min(1.0) } else { 1.0 };
        let gradient_scale = (clip / self.loss_scale()) as f32;
        let step = self.steps_learned() + 1;
        let parameters = self.model.model_mut().parameters_mut();
        self.optimizer.step(&mut self.gradients, parameters, step, factor, gradient_scale);
        if let Some(scaler) = &mut self.loss_scaler {
            scaler.update(true);
        }
        Ok(())
    }

    /// What the strategies ask for after a step.
    fn due_after_step(&self) -> Due {
        let step = self.state.global_step;
        let arguments = self.arguments;
        let last = step >= self.length.max_steps;
        let logs = arguments.logging_strategy == IntervalStrategy::Steps;
        let evaluates = arguments.eval_strategy == IntervalStrategy::Steps;
        let saves = arguments.save_strategy == SaveStrategy::Steps;
        Due {
            log: (logs && step.is_multiple_of(self.state.logging_steps))
                || (arguments.logging_first_step && step == 1),
            evaluate: evaluates
                && (last || step.is_multiple_of(self.state.eval_steps))
                && arguments.eval_delay <= step as f64,
            save: saves && (last || step.is_multiple_of(self.state.save_steps)),
        }
    }

    /// What the strategies ask for after an epoch.
    fn due_after_epoch(&self) -> Due {
        let arguments = self.arguments;
        Due {
            log: arguments.logging_strategy == IntervalStrategy::Epoch,
            evaluate: arguments.eval_strategy == IntervalStrategy::Epoch
                && arguments.eval_delay <= self.state.epoch,
            save: arguments.save_strategy == SaveStrategy::Epoch,
        }
    }

    /// Logs, evaluates and saves, in this order, so that a checkpoint knows of all before it.
    pub(super) fn perform(&mut self, due: Due) -> Result<Flow, Error> {
        let mut flow = Flow::Continue;
        if due.log {
            self.log();
        }
        let mut new_best = false;
        if due.evaluate {
            let metrics = self.evaluate()?;
            new_best = self.note_best(&metrics)?;
            for callback in self.callbacks.iter_mut() {
                if callback.on_evaluate(self.state, &metrics) == Flow::Stop {
                    flow = Flow::Stop;
                }
            }
        }
        if due.save || (new_best && self.arguments.save_strategy == SaveStrategy::Best) {
            self.save_checkpoint(self.arguments.save_only_model)?;
        }
        Ok(flow)
    }

    /// Ends an interrupted run with a checkpoint that it can continue from.
    fn stop_if_interrupted(&mut self) -> Result<(), Error> {
        if !self.stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        let path = checkpoint_path(&self.arguments.output_dir, self.state.global_step);
        let saved = self.last_checkpoint.as_ref() == Some(&path) && !self.arguments.save_only_model;
        let checkpoint = if saved { path } else { self.save_checkpoint(false)? };
        Err(Error::Interrupted(format!(
            "interrupted after step {} of {}; {} holds the run and can be resumed",
            self.state.global_step,
            self.length.max_steps,
            checkpoint.display()
        )))
    }
}
