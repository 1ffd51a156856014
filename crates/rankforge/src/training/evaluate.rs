//! Evaluation inside a run.

use crate::evaluation::Moment;
use crate::model_card::EvaluationResult;
use crate::training::run::Run;
use crate::training::{LossWindow, loss_without_gradients};
use crate::{Error, Metrics};
use rankforge_encoder::Trainable;
use serde_json::json;
use std::time::Instant;

impl<M: Trainable> Run<'_, M> {
    /// Loss over the evaluation data, then every evaluator; keys get the prefix `eval_`.
    pub(super) fn evaluate(&mut self) -> Result<Metrics, Error> {
        let begun = Instant::now();
        let mut metrics = self.evaluation_loss()?;
        let folder = self.arguments.output_dir.join("eval");
        if !self.evaluators.is_empty() {
            std::fs::create_dir_all(&folder)
                .map_err(|source| Error::Io { path: folder.clone(), source })?;
        }
        self.evaluations.clear();
        let mut primary = f64::NAN;
        for evaluator in self.evaluators {
            let moment = Moment {
                output_path: Some(&folder),
                epoch: self.state.epoch,
                steps: self.state.global_step as i64,
            };
            let figures = evaluator.evaluate(self.model, moment, self.reporter)?;
            primary = figures.get(&evaluator.primary_metric()).unwrap_or(f64::NAN);
            metrics.0.extend(figures.0.clone());
            self.evaluations.push(EvaluationResult {
                class_name: evaluator.class_name().to_owned(),
                name: evaluator.name().to_owned(),
                primary_metric: evaluator.primary_metric(),
                config: evaluator.config(),
                metrics: figures,
            });
        }
        if self.evaluators.len() > 1 {
            // As SequentialEvaluator: the last evaluator's figure stands for all.
            metrics.insert("sequential_score", primary);
        }
        let seconds = begun.elapsed().as_secs_f64();
        metrics.insert("runtime", seconds);
        if let (Some(rows), Some((_, batches))) = (self.eval_dataset, &self.evaluation) {
            metrics.insert("samples_per_second", rows.len() as f64 / seconds);
            metrics.insert("steps_per_second", batches.len() as f64 / seconds);
        }
        self.timing.evaluation += seconds;
        let metrics = metrics.with_prefix("eval");
        let record = metrics.0.iter().map(|(name, value)| (name.clone(), json!(value)));
        self.add_record(record.collect());
        Ok(metrics)
    }

    /// Mean over the rows of the evaluation data, batch by batch.
    fn evaluation_loss(&mut self) -> Result<Metrics, Error> {
        let mut metrics = Metrics::new();
        let Some((preparer, batches)) = &self.evaluation else { return Ok(metrics) };
        let mut sums = LossWindow::default();
        let mut rows = 0;
        self.reporter.begin("evaluation loss", Some(batches.len() as u64), "batch");
        let result = std::thread::scope(|scope| {
            for batch in preparer.prepare_ahead(scope, batches, 0) {
                let batch = batch?;
                let result = loss_without_gradients(
                    self.model.model(),
                    self.loss,
                    &batch,
                    &self.chunking,
                    &mut self.workspace,
                );
                sums.add(result.value, &result.components, batch.rows.len() as f64);
                rows += batch.rows.len();
                self.reporter.advance(1);
            }
            Ok::<(), Error>(())
        });
        self.reporter.end();
        result?;
        if rows > 0 {
            metrics.insert("loss", sums.loss / rows as f64);
            for (name, sum) in sums.components {
                metrics.insert(name, sum / rows as f64);
            }
        }
        Ok(metrics)
    }

    /// Compares an evaluation with the best so far; true when it is strictly better.
    ///
    /// # Errors
    /// When the evaluation lacks the figure that says which model is best.
    pub(super) fn note_best(&mut self, metrics: &Metrics) -> Result<bool, Error> {
        let Some(name) = self.arguments.best_metric() else { return Ok(false) };
        let Some(value) = metrics.get(&name) else {
            let known: Vec<&str> = metrics.0.keys().map(String::as_str).collect();
            return Err(Error::Argument {
                field: "metric_for_best_model".to_owned(),
                expected: format!("one of the evaluation figures {}", known.join(", ")),
                got: name,
            });
        };
        let better = match self.state.best_metric {
            None => !value.is_nan(),
            Some(best) if self.arguments.greater_is_better() => value > best,
            Some(best) => value < best,
        };
        if better {
            self.state.best_metric = Some(value);
            self.state.best_global_step = Some(self.state.global_step);
        }
        Ok(better)
    }
}
