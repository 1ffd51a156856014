//! Quality against time per query over depth, as an SVG file.

use crate::evaluation::cascade::report::{CascadeReport, StageReport};
use crate::page::chart::{Axis, Chart, Look, Series};
use plotters::chart::SeriesLabelPosition;
use std::ops::Range;

/// Size in pixels.
const SIZE: (u32, u32) = (640, 400);

const LOOK: Look =
    Look { font: 16, labels: (72, 48), ticks: (12, 8), legend: SeriesLabelPosition::LowerRight };

/// The plot of the first metric of a report, as SVG: a curve for each first stage, with a point for
/// the stage alone and for each depth.
pub(super) fn plot(report: &CascadeReport) -> String {
    let metric = &report.metrics[0];
    let mut series: Vec<Series<'_>> = Vec::new();
    for stage in &report.stages {
        let (point, text) = (point(stage, metric), text(stage));
        match series.iter_mut().find(|series| series.name == stage.first_stage) {
            Some(series) => {
                series.points.push(point);
                series.texts.push(text);
            }
            None => {
                let line = Series::line(&stage.first_stage, series.len(), vec![point]);
                series.push(Series { texts: vec![text], ..line });
            }
        }
    }
    let points = || series.iter().flat_map(|series| &series.points);
    let (x_axis, y_axis) = ("time per query, milliseconds (logarithmic)", metric.as_str());
    let x = Axis::Logarithmic(decades(points().map(|point| point.0)));
    let y = with_margin(points().map(|point| point.1), series.len());
    Chart { x_axis, y_axis, x, y, series, look: LOOK }.svg(SIZE)
}

fn point(stage: &StageReport, metric: &str) -> (f64, f64) {
    // A logarithmic axis has no 0; a clock may be too coarse to see a stage at all.
    let milliseconds = (stage.seconds_per_query.mean * 1e3).max(1e-3);
    (milliseconds, stage.metrics.get(metric).expect("a metric of the report"))
}

/// The number of documents that were reranked.
fn text(stage: &StageReport) -> String {
    if stage.depth == 0 { "first stage".to_owned() } else { stage.depth.to_string() }
}

/// The powers of ten around all values.
fn decades(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let low = values.clone().fold(f64::MAX, f64::min).log10().floor();
    let high = values.fold(f64::MIN, f64::max).log10();
    // Room for the label of the last point.
    let high = if high.fract() == 0.0 { high + 1.0 } else { high.ceil() };
    10f64.powf(low)..10f64.powf(high)
}

/// A range with room above all values, and below them for a legend of `lines` lines.
fn with_margin(values: impl Iterator<Item = f64> + Clone, lines: usize) -> Range<f64> {
    let low = values.clone().fold(f64::MAX, f64::min);
    let high = values.fold(f64::MIN, f64::max);
    let margin = ((high - low) / 10.0).max(0.005);
    let legend = (high - low).max(0.05) * (0.06 * lines as f64).min(1.0);
    low - margin - legend..high + margin
}
