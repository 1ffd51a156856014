//! A plot of a run as an SVG file: loss, learning rate and the main evaluation metric over steps.

use crate::page::chart::{Axis, Chart, Look, Series, svg, value_range};
use crate::trainer_state::LogRecord;
use plotters::chart::SeriesLabelPosition;

/// Sizes in pixels.
const WIDTH: u32 = 760;
const TITLE: u32 = 36;
const PANEL: u32 = 240;

const TITLE_FONT: (&str, u32) = ("sans-serif", 19);

/// The longest title that fits the width.
const TITLE_CHARACTERS: usize = 80;

const LOOK: Look =
    Look { font: 15, labels: (84, 44), ticks: (8, 6), legend: SeriesLabelPosition::UpperRight };

/// The plot of a log, as SVG. `metric` is the evaluation metric of the last panel, with its prefix
/// `eval_`.
pub(crate) fn plot(title: &str, log: &[LogRecord], metric: Option<&str>) -> String {
    let panels = panels(log, metric);
    svg((WIDTH, TITLE + PANEL * panels.len() as u32), |area| {
        let mut rest = area.titled(&shortened(title), TITLE_FONT)?;
        for panel in &panels {
            let (here, below) = rest.split_vertically(PANEL);
            panel.draw(&here)?;
            rest = below;
        }
        Ok(())
    })
}

/// The panels that have points.
fn panels<'a>(log: &[LogRecord], metric: Option<&'a str>) -> Vec<Chart<'a>> {
    let curve = |key, name, colour| Series::line(name, colour, points(log, key));
    let losses = vec![curve("loss", "training", 0), curve("eval_loss", "evaluation", 1)];
    let mut panels = vec![("loss", losses), ("learning rate", vec![curve("learning_rate", "", 2)])];
    if let Some(axis) = metric.filter(|metric| *metric != "eval_loss") {
        panels.push((axis, vec![curve(axis, "", 3)]));
    }
    let last_step = last_step(log);
    let chart = |(axis, series)| over_steps(axis, last_step, series, LOOK);
    panels.into_iter().filter_map(chart).collect()
}

/// Curves over the steps of a run; `None` if none of them has a point.
pub(crate) fn over_steps<'a>(
    axis: &'a str,
    last_step: f64,
    mut series: Vec<Series<'a>>,
    look: Look,
) -> Option<Chart<'a>> {
    series.retain(|series| !series.points.is_empty());
    if let [alone] = series.as_mut_slice() {
        // A legend would say nothing that the axis or the caption does not.
        alone.name = "";
    }
    let values = series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let y = value_range(values);
    let x = Axis::Linear(0.0..last_step.max(1.0));
    (!series.is_empty()).then_some(Chart { x_axis: "step", y_axis: axis, x, y, series, look })
}

/// The last step of a log.
pub(crate) fn last_step(log: &[LogRecord]) -> f64 {
    log.iter().filter_map(|record| record.get("step")?.as_f64()).fold(1.0, f64::max)
}

/// Steps and values of the log records that have `key`.
pub(crate) fn points(log: &[LogRecord], key: &str) -> Vec<(f64, f64)> {
    log.iter()
        .filter_map(|record| Some((record.get("step")?.as_f64()?, record.get(key)?.as_f64()?)))
        .filter(|(_, value)| value.is_finite())
        .collect()
}

fn shortened(title: &str) -> String {
    if title.chars().count() <= TITLE_CHARACTERS {
        return title.to_owned();
    }
    title.chars().take(TITLE_CHARACTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn record(value: Value) -> LogRecord {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn every_logged_figure_gets_a_curve_and_axes_and_curves_have_names() {
        let log = [
            record(json!({"step": 10, "loss": 0.7, "learning_rate": 1e-5})),
            record(json!({"step": 20, "loss": 0.5, "learning_rate": 2e-5})),
            record(json!({"step": 20, "eval_loss": 0.6, "eval_dev_map": 0.4})),
        ];
        let svg = plot("a < b", &log, Some("eval_dev_map"));
        for text in ["a &lt; b", "training", "evaluation", "loss", "learning rate", "eval_dev_map"]
        {
            assert!(svg.lines().any(|line| line == text), "{text} is not in {svg}");
        }
        assert_eq!(svg.lines().filter(|line| *line == "step").count(), 3, "{svg}");
        assert_eq!(svg.matches("<circle").count(), 6, "a dot for each figure: {svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert_eq!(svg, plot("a < b", &log, Some("eval_dev_map")));
    }

    #[test]
    fn a_log_without_figures_or_with_one_value_is_a_plot_all_the_same() {
        assert!(plot("empty", &[], None).ends_with("</svg>\n"));
        let svg = plot("one", &[record(json!({"step": 1, "loss": 0.0}))], None);
        assert!(svg.contains("<circle") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn ticks_are_round_numbers() {
        let log = [0.31, 0.33].map(|loss| record(json!({"step": 800, "loss": loss})));
        let svg = plot("", &log, None);
        for tick in ["0.31", "0.315", "0.32", "0.325", "0.33", "200", "800"] {
            assert!(svg.lines().any(|line| line == tick), "{tick} is not in {svg}");
        }
    }

    #[test]
    fn a_long_title_is_shortened() {
        let svg = plot(&"word ".repeat(100), &[], None);
        assert!(svg.lines().any(|line| line.starts_with("word") && line.ends_with('…')), "{svg}");
    }
}
