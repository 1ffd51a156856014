//! Runs side by side as a page.

use crate::error::Error;
use crate::page::chart::{COLOURS, Form, PAGE_LOOK, PAGE_SIZE, Series};
use crate::page::{figures, render};
use crate::training::compare::comparison::{Comparison, ComparisonRow};
use crate::training::plot::{last_step, over_steps, points};
use crate::words::{bytes, duration, metric, rate};
use plotters::style::RGBColor;
use serde_json::{Value, json};

/// Greatest number of metrics that are drawn.
const METRICS: usize = 12;

/// What is drawn before the metrics, with captions.
const CURVES: [(&str, &str); 3] = [
    ("loss", "Training loss"),
    ("learning_rate", "Learning rate"),
    ("grad_norm", "Gradient norm, before clipping"),
];

impl Comparison {
    /// The comparison as one HTML file that needs no other.
    ///
    /// # Errors
    /// When it cannot be rendered.
    pub fn html(&self) -> Result<String, Error> {
        let drawn =
            |row: &&ComparisonRow| row.name.starts_with("eval_") && !row.name.contains("_base_");
        let metrics: Vec<&ComparisonRow> = self.metrics.iter().filter(drawn).collect();
        let captions = CURVES.iter().map(|(key, caption)| (*key, *caption));
        let of_metrics = metrics.iter().take(METRICS).map(|row| {
            let key = row.name.as_str();
            (key, key.strip_prefix("eval_").unwrap_or(key))
        });
        let charts = captions.chain(of_metrics);
        let charts =
            charts.filter_map(|(key, caption)| Some((caption.to_owned(), self.chart(key)?)));
        let values = json!({
            "title": "Runs side by side",
            "version": env!("CARGO_PKG_VERSION"),
            "names": self.names,
            "keys": self.names.iter().enumerate().map(key).collect::<Vec<_>>(),
            "folders": self.runs.iter().map(|run| run.folder.to_string_lossy()).collect::<Vec<_>>(),
            "steps": self.runs.iter().map(|run| run.step).collect::<Vec<_>>(),
            "model_steps": self.runs.iter().map(|run| run.model_step).collect::<Vec<_>>(),
            "tables": [
                ["Metrics", "", cells(&self.metrics)],
                ["Speed and memory", "", cells(&self.speed)],
                ["Fields of the recipes that differ", "", cells(&self.fields)],
                ["Models, data and environments that differ", "", cells(&self.origin)],
            ],
            "left_out": metrics.len().saturating_sub(METRICS),
        });
        let curves = figures(charts);
        let values = minijinja::context! { curves, ..minijinja::value::Serde(&values) };
        render("compare.html", values)
    }

    /// A curve for each run; `None` if none has a point.
    fn chart(&self, key: &str) -> Option<String> {
        let series = self.runs.iter().enumerate().map(|(place, run)| {
            // The names stand above all charts.
            let line = Series::line("", place, points(run.log.records(), key));
            Series { form: if is_dashed(place) { Form::Dashed } else { Form::Line }, ..line }
        });
        let end = self.runs.iter().map(|run| last_step(run.log.records())).fold(1.0, f64::max);
        let chart = over_steps("", end, series.collect(), PAGE_LOOK)?;
        Some(chart.svg(PAGE_SIZE))
    }
}

/// Whether the curve of a run is dashed: the colours begin anew then.
fn is_dashed(place: usize) -> bool {
    place / COLOURS.len() % 2 == 1
}

/// What tells which curves are those of a run.
fn key((place, name): (usize, &String)) -> Value {
    let RGBColor(red, green, blue) = COLOURS[place % COLOURS.len()];
    let colour = format!("#{red:02X}{green:02X}{blue:02X}");
    json!({"name": name, "colour": colour, "dashed": is_dashed(place)})
}

/// The rows with their values as texts.
fn cells(rows: &[ComparisonRow]) -> Vec<Value> {
    rows.iter().map(|row| json!([row.name, row.texts()])).collect()
}

impl ComparisonRow {
    /// The values as texts: figures shortened, hashes to their first digits, nothing as `-`.
    pub fn texts(&self) -> Vec<String> {
        let text = |value: &Option<Value>| match value {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
                (Some(whole), _) => whole.to_string(),
                (None, Some(value)) => self.figure(value),
                (None, None) => number.to_string(),
            },
            Some(Value::String(text)) if is_hash(text) => text.chars().take(12).collect(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        self.values.iter().map(text).collect()
    }

    /// A measured figure in its unit, or a number of a recipe as it stands there.
    fn figure(&self, value: f64) -> String {
        match self.name.as_str() {
            "peak_memory_bytes" => bytes(value),
            "train_runtime" => duration(value),
            name if name.ends_with("per_second") => rate(value),
            name if name.starts_with("eval_") || name == "train_loss" => metric(value),
            _ => Value::from(value).to_string(),
        }
    }
}

fn is_hash(text: &str) -> bool {
    text.len() >= 32 && text.chars().all(|c| c.is_ascii_hexdigit())
}
