//! The charts on the page about a run, each with its caption.

use crate::evaluation::ScoreHistogram;
use crate::model_card::EvaluationResult;
use crate::page::chart::{
    Axis, COLOURS, Chart, Form, Look, PAGE_LOOK, PAGE_SIZE, Series, value_range,
};
use crate::trainer_state::LogRecord;
use crate::training::plot::{last_step, over_steps, points};
use crate::training::report::log::RunLog;
use crate::training::report::recorded::{Evaluated, Recorded};
use crate::words::MIB;
use plotters::chart::SeriesLabelPosition;
use std::ops::Range;

/// Loss, learning rate, gradient norm, the main metric of each evaluator, throughput and memory, as
/// far as the log has them.
pub(super) fn curves(log: &RunLog, evaluations: &[EvaluationResult]) -> Vec<(String, String)> {
    let records = log.records();
    let end = last_step(records);
    let mut charts = Vec::new();
    let mut add = |caption: &str, chart: Option<Chart<'_>>| {
        charts.extend(chart.map(|chart| (caption.to_owned(), chart.svg(PAGE_SIZE))));
    };
    add("Loss", over_steps("", end, losses(records), PAGE_LOOK));
    let one = |key: &str, colour| vec![Series::line("", colour, points(records, key))];
    add("Learning rate", over_steps("", end, one("learning_rate", 2), PAGE_LOOK));
    add("Gradient norm, before clipping", over_steps("", end, one("grad_norm", 3), PAGE_LOOK));
    for result in evaluations {
        let key = format!("eval_{}", result.primary_metric);
        let look = Look { legend: SeriesLabelPosition::LowerRight, ..PAGE_LOOK };
        let series = metric_series(records, result, &key, end);
        add(&result.primary_metric, over_steps("", end, series, look));
    }
    let rates = log.over_minutes("samples_per_second");
    add("Throughput, rows per second", over_time(vec![Series::line("", 0, rates)]));
    let memory = |key, name, colour| {
        let points = log.over_minutes(key).into_iter();
        Series::line(name, colour, points.map(|(minute, bytes)| (minute, bytes / MIB)).collect())
    };
    let memory = vec![memory("memory_bytes", "now", 4), memory("peak_memory_bytes", "peak", 5)];
    add("Memory of the process, MiB", over_time(memory));
    charts
}

/// The training loss, and those of evaluation sets.
fn losses(records: &[LogRecord]) -> Vec<Series<'_>> {
    let mut keys: Vec<&str> = Vec::new();
    for key in records.iter().flat_map(|record| record.keys()) {
        if key.starts_with("eval_") && key.ends_with("loss") && !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let name = |key: &'_ str| match key {
        "eval_loss" => "evaluation",
        _ => "",
    };
    let mut series = vec![Series::line("training", 0, points(records, "loss"))];
    series.extend(keys.iter().enumerate().map(|(place, key)| {
        let own = key.trim_start_matches("eval_").trim_end_matches("_loss");
        let name = if name(key).is_empty() { own } else { name(key) };
        Series::line(name, place + 1, points(records, key))
    }));
    series
}

/// A metric over the steps, and that of the first stage as a dashed line.
fn metric_series<'a>(
    records: &[LogRecord],
    result: &EvaluationResult,
    key: &str,
    end: f64,
) -> Vec<Series<'a>> {
    let model = points(records, key);
    let Some(first) = result.of_first_stage(&result.primary_metric) else {
        return vec![Series::line("", 0, model)];
    };
    let line = Series::line("first stage", 5, vec![(0.0, first), (end, first)]);
    vec![Series::line("model", 0, model), Series { form: Form::Dashed, ..line }]
}

/// Curves over the minutes of a run, from 0 up; `None` if none of them has a point.
fn over_time(mut series: Vec<Series<'_>>) -> Option<Chart<'_>> {
    series.retain(|series| !series.points.is_empty());
    let all = || series.iter().flat_map(|series| &series.points);
    let end = all().map(|point| point.0).fold(0.0, f64::max);
    let top = all().map(|point| point.1).fold(0.0, f64::max);
    let look = Look { legend: SeriesLabelPosition::LowerRight, ..PAGE_LOOK };
    let x = Axis::Linear(0.0..if end > 0.0 { end } else { 1.0 });
    let y = 0.0..if top > 0.0 { top * 1.1 } else { 1.0 };
    (!series.is_empty()).then_some(Chart { x_axis: "minutes", y_axis: "", x, y, series, look })
}

/// How scores were distributed at the first evaluation and are now, or before and after training.
pub(super) fn histograms(recorded: &Recorded, model_step: u64) -> Vec<(String, String)> {
    let mut charts = Vec::new();
    if let Some(sample) = &recorded.sample {
        let pair = [
            Some((caption("", "before training"), &sample.before)),
            sample.after.as_ref().map(|after| (caption("", "after training"), after)),
        ];
        charts.extend(side_by_side(pair));
    }
    let Some(now) = recorded.of_step(model_step) else { return charts };
    for details in &now.details {
        let first = recorded.first.as_ref().filter(|first| first.step < now.step);
        let at =
            |evaluated: &Evaluated| caption(&details.name, &format!("step {}", evaluated.step));
        let before = first.and_then(|first| {
            let same = first.details.iter().find(|other| other.name == details.name)?;
            Some((at(first), same.scores.as_ref()?))
        });
        let after = details.scores.as_ref().map(|scores| (at(now), scores));
        charts.extend(side_by_side([before, after]));
    }
    charts
}

fn caption(name: &str, when: &str) -> String {
    if name.is_empty() { format!("Scores {when}") } else { format!("{name}, {when}") }
}

/// Histograms over the same axis.
fn side_by_side(pair: [Option<(String, &ScoreHistogram)>; 2]) -> Vec<(String, String)> {
    let edges = pair.iter().flatten().flat_map(|(_, histogram)| {
        [histogram.low, histogram.low + histogram.width * histogram.positives.len() as f64]
    });
    let edges: Vec<f64> = edges.collect();
    let range = value_range(edges.into_iter());
    let chart = |(caption, histogram)| (caption, histogram_chart(histogram, &range).svg(PAGE_SIZE));
    pair.into_iter().flatten().map(chart).collect()
}

fn histogram_chart(histogram: &ScoreHistogram, range: &Range<f64>) -> Chart<'static> {
    let series = |name, colour: usize, bins: &[u64]| {
        let all = bins.iter().sum::<u64>().max(1) as f64;
        let point = |(bin, count): (usize, &u64)| {
            (histogram.low + histogram.width * bin as f64, *count as f64 / all * 100.0)
        };
        Series {
            name,
            colour: COLOURS[colour],
            form: Form::Bars(histogram.width),
            points: bins.iter().enumerate().map(point).collect(),
            texts: Vec::new(),
        }
    };
    let series = vec![
        series("irrelevant", 1, &histogram.negatives),
        series("relevant", 0, &histogram.positives),
    ];
    let top = series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    // Room for the legend above the bars.
    let y = 0.0..top.fold(1.0, f64::max) * 1.4;
    let x = Axis::Linear(range.clone());
    Chart { x_axis: "score", y_axis: "percent", x, y, series, look: PAGE_LOOK }
}
