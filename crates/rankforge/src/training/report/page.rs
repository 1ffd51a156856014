//! The page about a run.

use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::model_card::{EvaluationResult, Timing};
use crate::page::{figures, render};
use crate::trainer_state::TrainerState;
use crate::training::record::Environment;
use crate::training::report::charts;
use crate::training::report::log::RunLog;
use crate::training::report::recorded::Recorded;
use crate::training::training_set::TrainingSet;
use crate::words::{bytes, duration, metric, rate, thousands};
use rankforge_encoder::ModelKind;
use serde_json::{Value as Json, json};

/// The file in the output directory of a run.
pub(crate) const REPORT: &str = "report.html";

/// What the page tells.
pub(crate) struct RunPage<'a> {
    pub(crate) arguments: &'a TrainingArguments,
    pub(crate) state: &'a TrainerState,
    pub(crate) kind: ModelKind,
    pub(crate) base_model: &'a str,
    /// The step whose parameters the model has.
    pub(crate) model_step: u64,
    /// Training and evaluation sets.
    pub(crate) sets: [&'a [TrainingSet]; 2],
    /// Results of the evaluators, of the model.
    pub(crate) evaluations: &'a [EvaluationResult],
    pub(crate) recorded: &'a Recorded,
    pub(crate) timing: Timing,
    /// The step that the process began after.
    pub(crate) first_step: u64,
    pub(crate) environments: Vec<Environment>,
    /// The text of the recipe, if the run came from one.
    pub(crate) recipe: Option<&'a str>,
}

impl RunPage<'_> {
    /// The page as one HTML file that needs no other.
    ///
    /// # Errors
    /// When it cannot be rendered.
    pub(crate) fn html(&self) -> Result<String, Error> {
        let log = RunLog::read(&self.arguments.output_dir, &self.state.log_history);
        let evaluated = self.recorded.of_step(self.model_step);
        let changes = evaluated.iter().flat_map(|evaluated| &evaluated.details);
        let changes: Vec<Json> = changes
            .filter_map(|details| {
                Some(json!({"name": details.name, "change": details.changes.as_ref()?}))
            })
            .collect();
        let arguments = self.arguments.non_default();
        let values = json!({
            "title": self.title(),
            "version": env!("CARGO_PKG_VERSION"),
            "kind": self.kind.to_string(),
            "base_model": self.base_model,
            "model_step": self.model_step,
            "steps": self.state.global_step,
            "max_steps": self.state.max_steps,
            "tiles": self.tiles(&log),
            "logging_steps": self.state.logging_steps,
            "has_losses": log.has("loss"),
            "metrics": self.metrics(),
            "histograms_of": self.recorded.sample.as_ref().map(|sample| &sample.of),
            "changes": changes,
            "sets": self.described_sets(),
            "recipe": self.recipe,
            "arguments": arguments.iter().map(|(name, value)| json!([name, plain(value)]))
                .collect::<Vec<_>>(),
            "environments": self.environments,
        });
        let curves = figures(charts::curves(&log, self.evaluations));
        let histograms = figures(charts::histograms(self.recorded, self.model_step));
        let values = minijinja::context! { curves, histograms, ..minijinja::value::Serde(&values) };
        render("training.html", values)
    }

    fn title(&self) -> String {
        let folder = self.arguments.output_dir.file_name();
        let name = self.arguments.run_name.clone();
        name.or_else(|| Some(folder?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "Training run".to_owned())
    }

    /// The figures at the top of the page.
    fn tiles(&self, log: &RunLog) -> Vec<Json> {
        let mut tiles = Vec::new();
        let mut tile = |name: &str, value: String, note: String| {
            tiles.push(json!({"name": name, "value": value, "note": note}));
        };
        for result in self.evaluations {
            let Some(value) = result.metrics.get(&result.primary_metric) else { continue };
            let note = match result.of_first_stage(&result.primary_metric) {
                Some(first) => format!("first stage {}, {:+.4}", metric(first), value - first),
                None => match log.first(&format!("eval_{}", result.primary_metric)) {
                    Some((step, first)) if step < self.model_step => {
                        format!("{} at step {step}, {:+.4}", metric(first), value - first)
                    }
                    _ => String::new(),
                },
            };
            tile(&result.primary_metric, metric(value), note);
        }
        let state = self.state;
        let steps = format!(
            "{} of {}",
            thousands(state.global_step as usize),
            thousands(state.max_steps as usize)
        );
        let epochs = format!("{:.2} epochs, {} rows each", state.epoch, state.train_batch_size);
        tile("steps", steps, epochs);
        if let Some((_, loss)) = log.last("train_loss").or_else(|| log.last("loss")) {
            tile("training loss", metric(loss), String::new());
        }
        let since = match self.first_step {
            0 => None,
            step => Some(format!("since step {step}")),
        };
        let evaluation = Some(self.timing.evaluation).filter(|seconds| *seconds > 0.0);
        let evaluation =
            evaluation.map(|seconds| format!("and {} of evaluation", duration(seconds)));
        let notes: Vec<String> = since.into_iter().chain(evaluation).collect();
        tile("training time", duration(self.timing.training), notes.join(", "));
        if let Some(rows) = log.mean("samples_per_second") {
            let tokens = log
                .mean("tokens_per_second")
                .map_or_else(String::new, |tokens| format!("{} tokens per second", rate(tokens)));
            tile("rows per second", rate(rows), tokens);
        }
        if let Some(peak) = log.largest("peak_memory_bytes") {
            tile("peak memory", bytes(peak), "of the process".to_owned());
        }
        tiles
    }

    /// Of each evaluator, its metrics: of the first stage, or else of the first evaluation, and of
    /// the model.
    fn metrics(&self) -> Vec<Json> {
        let log = &self.state.log_history;
        let first = |key: &str| {
            let first = log.iter().find(|record| record.contains_key(key))?;
            let step = first.get("step")?.as_u64()?;
            (step < self.model_step).then_some((step, first.get(key)?.as_f64()?))
        };
        let rows = |result: &EvaluationResult| -> Vec<Json> {
            let keys = result.metrics.0.iter().filter(|(key, _)| !result.is_of_first_stage(key));
            let row = |(key, value): (&String, &f64)| {
                json!({
                    "name": result.short(key),
                    "main": *key == result.primary_metric,
                    "first_stage": result.of_first_stage(key).map(metric),
                    "first": first(&format!("eval_{key}")).map(|(_, value)| metric(value)),
                    "value": metric(*value),
                })
            };
            keys.map(row).collect()
        };
        let described = self.evaluations.iter().map(|result| {
            let rows = rows(result);
            let first_step = first(&format!("eval_{}", result.primary_metric));
            let has_first_stage = rows.iter().any(|row| !row["first_stage"].is_null());
            json!({
                "name": result.name, "class": result.class_name, "rows": rows,
                "has_first_stage": has_first_stage,
                "first_step": first_step.map(|(step, _)| step),
            })
        });
        described.collect()
    }

    fn described_sets(&self) -> Vec<Json> {
        let kinds = ["training", "evaluation"].into_iter().zip(self.sets);
        let described = kinds.flat_map(|(kind, sets)| {
            sets.iter().map(move |set| {
                json!({
                    "kind": kind,
                    "name": set.name,
                    "rows": thousands(set.rows.len()),
                    "columns": set.rows.column_names().join(", "),
                    "loss": set.loss.name(),
                })
            })
        });
        described.collect()
    }
}

fn plain(value: &Json) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
