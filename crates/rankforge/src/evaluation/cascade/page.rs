use crate::error::Error;
use crate::evaluation::cascade::plot::plot;
use crate::evaluation::cascade::report::{CascadeReport, Difference, Interval, StageReport};
use crate::page::render;
use indexmap::IndexMap;
use minijinja::Value;
use serde::Serialize;
use serde_json::json;

/// What a page says besides the figures.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PageText {
    /// Heading.
    pub title: String,
    /// Settings of the run and of each part of the cascade: part to setting to value.
    pub settings: IndexMap<String, IndexMap<String, String>>,
}

/// The report as one HTML file that needs no other.
///
/// # Errors
/// When the page cannot be rendered.
pub fn html_report(report: &CascadeReport, text: &PageText) -> Result<String, Error> {
    let values = json!({
        "title": text.title,
        "text": text,
        "report": report,
        "stages": report.stages.iter().map(|stage| row(report, stage)).collect::<Vec<_>>(),
        "differences": report.differences.iter().map(difference_row).collect::<Vec<_>>(),
        "percent": (report.bootstrap.confidence * 100.0).to_string(),
        "version": env!("CARGO_PKG_VERSION"),
    });
    let plot = Value::from_safe_string(plot(report));
    let values = minijinja::context! { plot, ..minijinja::value::Serde(&values) };
    render("cascade.html", values)
}

/// A stage as cells: its figures, and below each what reranking gained.
fn row(report: &CascadeReport, stage: &StageReport) -> serde_json::Value {
    let gain = report.differences.iter().find(|difference| {
        difference.stage == stage.name && difference.against == stage.first_stage
    });
    let cells = report.metrics.iter().map(|name| {
        let gain = gain.map(|gain| interval_cell(&gain.metrics[name]));
        let value = stage.metrics.get(name).map(|value| format!("{value:.4}"));
        json!({ "value": value, "gain": gain })
    });
    let time = stage.seconds_per_query;
    let times = [time.mean, time.p50, time.p95].map(milliseconds);
    json!({
        "name": stage.name,
        "first": stage.depth == 0,
        "cells": cells.collect::<Vec<_>>(),
        "times": times,
    })
}

fn difference_row(difference: &Difference) -> serde_json::Value {
    let cells = difference.metrics.values().map(interval_cell);
    json!({
        "stage": difference.stage,
        "against": difference.against,
        "cells": cells.collect::<Vec<_>>(),
    })
}

fn interval_cell(interval: &Interval) -> serde_json::Value {
    let Interval { difference, low, high } = interval;
    let side = match interval.is_clear() {
        true if *difference > 0.0 => "better",
        true => "worse",
        false => "unclear",
    };
    json!({
        "difference": format!("{difference:+.4}"),
        "interval": format!("[{low:+.4}, {high:+.4}]"),
        "side": side,
    })
}

/// Three significant digits.
pub(super) fn milliseconds(seconds: f64) -> String {
    let value = seconds * 1e3;
    let decimals = if value >= 100.0 { 0 } else { 2 - (value.max(1e-2).log10().floor() as i32) };
    format!("{value:.*}", decimals.clamp(0, 3) as usize)
}
