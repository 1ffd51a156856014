//! Evaluation inside a run.

use crate::error::Error;
use crate::evaluation::EvaluationContext;
use crate::losses::WithParameters;
use crate::metrics::Metrics;
use crate::model_card::EvaluationResult;
use crate::training::batches::prepare_ahead;
use crate::training::gradient_cache::loss_of;
use crate::training::model_copy::parts;
use crate::training::optimizers::Own;
use crate::training::position::LossWindow;
use crate::training::run::Run;
use rankforge_base::{FileError, Task};
use rankforge_encoder::TextModel;
use serde_json::json;
use std::time::Instant;

impl<M: TextModel> Run<'_, M> {
    /// Losses over the evaluation sets, then every evaluator; keys get the prefix `eval_`.
    pub(super) fn evaluate(&mut self) -> Result<Metrics, Error> {
        #[expect(clippy::disallowed_methods, reason = "evaluation is timed")]
        let begun = Instant::now();
        let parts = self.setup.parts;
        let mut metrics = Metrics::new();
        for set in 0..self.setup.evaluation.len() {
            let losses = self.evaluation_loss(set)?;
            metrics.0.extend(losses.with_prefix(&parts.eval_sets[set].name).0);
        }
        let folder = parts.arguments.output_dir.join("eval");
        if !parts.evaluators.is_empty() {
            std::fs::create_dir_all(&folder).map_err(FileError::io(&folder))?;
        }
        self.evaluations.clear();
        let mut primary = f64::NAN;
        let collector = self.collector();
        for evaluator in parts.evaluators {
            let context = EvaluationContext {
                output_path: Some(&folder),
                epoch: self.state.epoch,
                steps: self.state.global_step as i64,
                reporter: parts.reporter.clone(),
                details: collector.as_ref(),
            };
            let found = evaluator.evaluate(self.model, &context)?;
            let primary_metric = evaluator.primary_metric(&found);
            primary = found.get(&primary_metric).unwrap_or(f64::NAN);
            metrics.0.extend(found.0.clone());
            self.evaluations.push(EvaluationResult {
                class_name: evaluator.class_name().to_owned(),
                name: evaluator.name().to_owned(),
                primary_metric,
                config: evaluator.config(),
                metrics: found,
            });
        }
        self.keep_details(collector);
        if parts.evaluators.len() > 1 {
            // As in SequentialEvaluator: the metric of the last evaluator.
            metrics.insert("sequential_score", primary);
        }
        let seconds = begun.elapsed().as_secs_f64();
        metrics.insert("runtime", seconds);
        if !parts.eval_sets.is_empty() {
            let rows: usize = parts.eval_sets.iter().map(|set| set.rows.len()).sum();
            let batches: usize = self.setup.evaluation.iter().map(|(_, b)| b.len()).sum();
            metrics.insert("samples_per_second", rows as f64 / seconds);
            metrics.insert("steps_per_second", batches as f64 / seconds);
        }
        self.timing.evaluation += seconds;
        let metrics = metrics.with_prefix("eval");
        let record = metrics.0.iter().map(|(name, value)| (name.clone(), json!(value)));
        self.add_record(record.collect());
        Ok(metrics)
    }

    /// Mean loss over the rows of an evaluation set.
    fn evaluation_loss(&mut self, set: usize) -> Result<Metrics, Error> {
        let (preparer, batches) = &self.setup.evaluation[set];
        let budget = preparer.budget(self.setup.max_tokens_per_chunk);
        let mut sums = LossWindow::default();
        let mut rows = 0;
        let reporter = &**self.setup.parts.reporter;
        let task = Task::begin(reporter, "evaluation loss", batches.len(), "batch");
        #[expect(clippy::disallowed_methods, reason = "batches are prepared ahead")]
        std::thread::scope(|scope| {
            let preparers = std::slice::from_ref(preparer);
            for batch in prepare_ahead(preparers, scope, batches, 0) {
                let batch = batch?;
                let model = self.model.model();
                let Own { parameters, copy } = self.optimizer.of_evaluation(set);
                let loss = WithParameters { loss: preparer.loss(), parameters };
                let mut parts = parts(model, &mut self.cache, copy, &batch);
                let result = loss_of(&mut parts, &loss, &batch, budget);
                let weight = batch.rows.len() as f64;
                sums.add(result.value, weight);
                sums.add_components(&result.components, weight);
                rows += batch.rows.len();
                task.advance(1);
            }
            Ok::<(), Error>(())
        })?;
        let mut metrics = Metrics::new();
        if rows > 0 {
            metrics.insert("loss", sums.loss / rows as f64);
            for (name, mean) in sums.component_means() {
                metrics.insert(name, mean);
            }
        }
        Ok(metrics)
    }
}
