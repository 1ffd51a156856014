//! The loop: epochs, optimizer steps, and what is due after them. Reads from [`Run::train`]
//! downwards.

use crate::arguments::{IntervalStrategy, SaveStrategy};
use crate::error::Error;
use crate::losses::WithParameters;
use crate::metrics::Metrics;
use crate::training::batches::{PreparedBatch, prepare_ahead};
use crate::training::callbacks::Flow;
use crate::training::checkpoint::checkpoint_path;
use crate::training::epoch::{Epoch, SetBatch};
use crate::training::gradient_cache::add_gradients;
use crate::training::health::check_gradients;
use crate::training::model_copy::parts;
use crate::training::optimizers::{Own, Update};
use crate::training::position::{LossWindow, StepReport};
use crate::training::run::{Due, Run};
use crate::training::setup::{Parts, Setup};
use rankforge_base::Task;
use rankforge_encoder::TextModel;
use rankforge_kernels::ops;
use std::sync::mpsc::Receiver;

/// Added to the norm when gradients are clipped, as PyTorch does.
const CLIPPING_EPSILON: f64 = 1e-6;

/// What a step computes besides gradients.
#[derive(Default)]
struct Accumulated {
    losses: LossWindow,
    tokens: usize,
    batches: Vec<SetBatch>,
}

impl<M: TextModel> Run<'_, M> {
    /// Trains from the current position to the last step.
    pub(super) fn train(&mut self) -> Result<(), Error> {
        let (max_steps, step) = (self.setup.length.max_steps, self.state.global_step);
        let task =
            Task::begin(&**self.setup.parts.reporter, "training", max_steps as usize, "step");
        task.advance(step as usize);
        self.epochs(&task)
    }

    fn epochs(&mut self, task: &Task<'_>) -> Result<(), Error> {
        let Setup { parts, sampler, length, .. } = self.setup;
        if parts.arguments.eval_on_start && self.state.global_step == 0 {
            self.perform(Due { evaluate: true, ..Due::default() })?;
        }
        let by_steps = parts.arguments.max_steps > 0;
        // A run that was interrupted after the last step of an epoch still has to end the epoch.
        while self.position.batches > 0
            || (self.state.global_step < length.max_steps
                && (by_steps || self.position.epoch < length.epochs))
        {
            let Epoch { batches, warnings } = sampler.epoch(self.position.epoch)?;
            if self.position.epoch == 0 {
                warnings.iter().for_each(|warning| parts.reporter.warning(warning));
            }
            if self.epoch(&batches, task)? == Flow::Stop {
                break;
            }
        }
        Ok(())
    }

    /// The rest of an epoch. The next batch is prepared on another thread.
    fn epoch(&mut self, batches: &[SetBatch], task: &Task<'_>) -> Result<Flow, Error> {
        let finished = |run: &Self| run.state.global_step >= run.setup.length.max_steps;
        let mut flow = if finished(self) { Flow::Stop } else { Flow::Continue };
        #[expect(clippy::disallowed_methods, reason = "batches are prepared ahead")]
        std::thread::scope(|scope| {
            let done = self.position.batches;
            let first_draw = self.position.micro_batches;
            let training = &self.setup.training;
            let prepared = prepare_ahead(training, scope, &batches[done..], first_draw);
            while self.position.batches < batches.len() && flow == Flow::Continue {
                // The last group of an epoch may have fewer batches; its mean is over these.
                let left = batches.len() - self.position.batches;
                let group = left.min(self.setup.parts.arguments.gradient_accumulation_steps);
                let step = self.optimizer_step(&prepared, group)?;
                self.write_record()?;
                self.state.epoch = self.position.epoch as f64
                    + self.position.batches as f64 / batches.len() as f64;
                task.advance(1);
                for callback in self.callbacks.iter_mut() {
                    if callback.on_step_end(&self.state, &step) == Flow::Stop {
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

    /// One optimizer step: the gradients of `group` batches, clipped, then the optimizer. In fp16 a
    /// step whose loss or gradients overflow is skipped, and the loss scale shrinks.
    fn optimizer_step(
        &mut self,
        prepared: &Receiver<Result<PreparedBatch, Error>>,
        group: usize,
    ) -> Result<StepReport, Error> {
        // The optimizer leaves zeros for the next step. Before the first step, the gradients are
        // negative zeros, which sums do not notice and which show what was never added to.
        if !self.gradients_checked {
            self.cache.gradients.flat_mut().fill(-0.0);
        }
        let Accumulated { losses, tokens, batches } = self.accumulate(prepared, group)?;
        let loss = losses.loss;
        let grad_norm = ops::sum_of_squares(self.cache.gradients.flat()).sqrt() / self.loss_scale();
        let factor =
            self.setup.schedule.factor(self.steps_learned()) * self.position.plateau.factor;
        // An overflow in the gradients of a loss's own parameters counts as one in the norm, of
        // which they are no part, as in sentence-transformers.
        let own_finite = self.optimizer.gradients_are_finite();
        let grad_norm = if own_finite { grad_norm } else { f64::INFINITY };
        let skipped = !(loss.is_finite() && grad_norm.is_finite());
        if skipped {
            self.skip(loss, grad_norm, &batches)?;
        } else {
            self.learn(grad_norm, factor)?;
        }
        self.state.global_step += 1;
        self.state.num_input_tokens_seen += tokens as u64;
        self.seen.tokens += tokens as u64;
        self.seen.rows += batches.iter().map(|batch| batch.rows.len() as u64).sum::<u64>();
        self.position.window.steps += 1;
        if loss.is_finite() {
            self.position.window.add(loss, 1.0);
            self.position.window.add_components(&losses.component_means(), 1.0);
            self.position.total_loss += loss;
        } else {
            self.position.window.overflowed += 1;
            self.position.overflowed_losses += 1;
        }
        let learning_rate = self.setup.parts.arguments.learning_rate * factor;
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
            let preparer = &self.setup.training[batch.set];
            let budget = preparer.budget(self.setup.max_tokens_per_chunk);
            let model = self.model.model();
            let Own { parameters, copy } = self.optimizer.of_training(batch.set);
            let loss = WithParameters { loss: preparer.loss(), parameters };
            let mut parts = parts(model, &mut self.cache, copy, &batch);
            let result = add_gradients(&mut parts, &loss, &batch, budget, scale);
            if !result.value.is_finite() && self.loss_scaler.is_none() {
                return Err(self.not_finite("loss", result.value, &[batch.into()]).into());
            }
            self.optimizer.add_gradients(batch.set, &result.d_parameters, scale);
            sum.losses.add(result.value, share);
            sum.losses.add_components(&result.components, share);
            sum.tokens += batch.tokens.iter().map(|sequence| sequence.ids.len()).sum::<usize>();
            self.count(&batch);
            self.position.batches += 1;
            self.position.micro_batches += 1;
            sum.batches.push(batch.into());
        }
        Ok(sum)
    }

    /// The optimizer, on the clipped gradients of the step.
    fn learn(&mut self, grad_norm: f64, factor: f64) -> Result<(), Error> {
        if !self.gradients_checked {
            let model = self.model.model();
            let starts_at_zero = |id| model.gradient_starts_at_zero(id);
            let reporter = &**self.setup.parts.reporter;
            check_gradients(&self.cache.gradients, starts_at_zero, grad_norm, reporter)?;
            self.gradients_checked = true;
        }
        let limit = self.setup.parts.arguments.max_grad_norm;
        let clip =
            if limit > 0.0 { (limit / (grad_norm + CLIPPING_EPSILON)).min(1.0) } else { 1.0 };
        let step = self.steps_learned() + 1;
        let update = Update { step, factor, clip, loss_scale: self.loss_scale() };
        let parameters = self.model.model_mut().parameters_mut();
        self.optimizer.step(&mut self.cache.gradients, parameters, update);
        if let Some(scaler) = &mut self.loss_scaler {
            scaler.update(true);
        }
        Ok(())
    }

    /// What is due after a step.
    fn due_after_step(&self) -> Due {
        let step = self.state.global_step;
        let arguments = self.setup.parts.arguments;
        let last = step >= self.setup.length.max_steps;
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

    /// What is due after an epoch.
    fn due_after_epoch(&self) -> Due {
        let arguments = self.setup.parts.arguments;
        Due {
            log: arguments.logging_strategy == IntervalStrategy::Epoch,
            evaluate: arguments.eval_strategy == IntervalStrategy::Epoch
                && arguments.eval_delay <= self.state.epoch,
            save: arguments.save_strategy == SaveStrategy::Epoch,
        }
    }

    /// Logs, evaluates and saves, in this order, so that a checkpoint includes the log and the
    /// evaluation.
    pub(super) fn perform(&mut self, due: Due) -> Result<Flow, Error> {
        let mut flow = Flow::Continue;
        if due.log {
            self.log();
        }
        let mut new_best = false;
        if due.evaluate {
            let metrics = self.evaluate()?;
            if self.stop_early(&metrics) == Flow::Stop {
                flow = Flow::Stop;
            }
            new_best = self.note_best(&metrics)?;
            if new_best {
                self.keep_best_details();
            }
            self.lower_learning_rate(&metrics);
            for callback in self.callbacks.iter_mut() {
                if callback.on_evaluate(&self.state, &metrics) == Flow::Stop {
                    flow = Flow::Stop;
                }
            }
        }
        let arguments = self.setup.parts.arguments;
        if due.save || (new_best && arguments.save_strategy == SaveStrategy::Best) {
            self.save_checkpoint(arguments.save_only_model)?;
        }
        Ok(flow)
    }

    /// Lowers the learning rate if evaluations got no better, with `reduce_lr_on_plateau`.
    fn lower_learning_rate(&mut self, metrics: &Metrics) {
        let Some(plateau) = &self.setup.plateau else { return };
        let metric = self.setup.parts.arguments.best_metric().and_then(|name| metrics.get(&name));
        // An evaluation before the first step does not count.
        if let (Some(metric), true) = (metric, self.state.global_step > 0) {
            plateau.step(metric, &mut self.position.plateau);
        }
    }

    /// Ends an interrupted run with a checkpoint to resume from.
    fn stop_if_interrupted(&mut self) -> Result<(), Error> {
        let Parts { stop, arguments, .. } = self.setup.parts;
        if !stop.is_requested() {
            return Ok(());
        }
        let (step, max_steps) = (self.state.global_step, self.setup.length.max_steps);
        let path = checkpoint_path(&arguments.output_dir, step);
        let saved = self.last_checkpoint.as_ref() == Some(&path) && !arguments.save_only_model;
        let checkpoint = if saved { path } else { self.save_checkpoint(false)? };
        Err(Error::Interrupted { step, max_steps, checkpoint })
    }
}
