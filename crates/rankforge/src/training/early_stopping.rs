//! The end of a run whose evaluations get no better: `EarlyStoppingCallback` of transformers.

use crate::metrics::Metrics;
use crate::training::callbacks::Flow;
use crate::training::run::Run;
use rankforge_encoder::TextModel;
use serde_json::{Value, json};

/// The key in `trainer_state.json`, which a resumed run reads.
const CALLBACK: &str = "EarlyStoppingCallback";

impl<M: TextModel> Run<'_, M> {
    /// Counts an evaluation that is not better, by more than the threshold, than the best before
    /// it. The run ends when there were as many in a row as the arguments say.
    pub(super) fn stop_early(&mut self, metrics: &Metrics) -> Flow {
        let arguments = self.setup.parts.arguments;
        let Some(patience) = arguments.early_stopping_patience else { return Flow::Continue };
        let threshold = arguments.early_stopping_threshold;
        // An evaluation without the metric is refused where the best one is noted.
        let value = arguments.best_metric().and_then(|name| metrics.get(&name));
        let Some(value) = value else { return Flow::Continue };
        let better = self.state.best_metric.is_none_or(|best| {
            self.is_better(value, Some(best)) && (value - best).abs() > threshold
        });
        let count = if better { 0 } else { self.evaluations_without_improvement() + 1 };
        self.state.stateful_callbacks.insert(
            CALLBACK.to_owned(),
            json!({
                "args": {
                    "early_stopping_patience": patience,
                    "early_stopping_threshold": threshold,
                },
                "attributes": { "early_stopping_patience_counter": count },
            }),
        );
        if count < patience {
            return Flow::Continue;
        }
        let step = self.state.global_step;
        self.setup.parts.reporter.message(&format!(
            "stopped early after step {step}: the last {count} evaluations were no better than {}",
            self.state.best_metric.unwrap_or(value)
        ));
        Flow::Stop
    }

    fn evaluations_without_improvement(&self) -> u64 {
        let callback = self.state.stateful_callbacks.get(CALLBACK);
        let counter = callback
            .and_then(|callback| callback.pointer("/attributes/early_stopping_patience_counter"));
        counter.and_then(Value::as_u64).unwrap_or(0)
    }
}
