//! A plot of a run as an SVG file: loss, learning rate and the main evaluation metric over steps.

use crate::trainer_state::LogRecord;
use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement};
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor, WHITE};
use std::ops::Range;

/// Sizes in pixels.
const WIDTH: u32 = 760;
const TITLE: u32 = 36;
const PANEL: u32 = 240;

/// Plotters draws a text at four fifths of the size that it is given.
const FONT: (&str, u32) = ("sans-serif", 15);
const TITLE_FONT: (&str, u32) = ("sans-serif", 19);

/// The longest title that fits the width.
const TITLE_CHARACTERS: usize = 80;

const GRID: RGBColor = RGBColor(228, 228, 228);

/// The points of one curve are drawn as dots too if they are no more than this.
const DOTS: usize = 40;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

struct Panel<'a> {
    axis: &'a str,
    curves: Vec<Curve<'a>>,
}

struct Curve<'a> {
    /// Its name in the legend; empty if the axis already says it.
    label: &'a str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
}

/// The plot of a log, as SVG. `metric` is the evaluation metric of the last panel, with its prefix
/// `eval_`.
pub(crate) fn plot(title: &str, log: &[LogRecord], metric: Option<&str>) -> String {
    let panels = panels(log, metric);
    let last_step = log.iter().filter_map(|record| record.get("step")?.as_f64());
    let last_step = last_step.fold(1.0, f64::max);
    let mut svg = String::new();
    let size = (WIDTH, TITLE + PANEL * panels.len() as u32);
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    draw(area, title, &panels, last_step).expect("memory for the plot");
    svg
}

/// The panels that have points.
fn panels<'a>(log: &[LogRecord], metric: Option<&'a str>) -> Vec<Panel<'a>> {
    let curve = |key, label, [red, green, blue]: [u8; 3]| Curve {
        label,
        colour: RGBColor(red, green, blue),
        points: points(log, key),
    };
    let losses = vec![
        curve("loss", "training", [31, 111, 235]),
        curve("eval_loss", "evaluation", [209, 87, 11]),
    ];
    let rates = vec![curve("learning_rate", "", [47, 143, 78])];
    let mut panels = vec![
        Panel { axis: "loss", curves: losses },
        Panel { axis: "learning rate", curves: rates },
    ];
    if let Some(axis) = metric.filter(|metric| *metric != "eval_loss") {
        panels.push(Panel { axis, curves: vec![curve(axis, "", [138, 63, 252])] });
    }
    panels.iter_mut().for_each(|panel| panel.curves.retain(|curve| !curve.points.is_empty()));
    panels.retain(|panel| !panel.curves.is_empty());
    panels
}

/// Steps and values of the log records that have `key`.
fn points(log: &[LogRecord], key: &str) -> Vec<(f64, f64)> {
    log.iter()
        .filter_map(|record| Some((record.get("step")?.as_f64()?, record.get(key)?.as_f64()?)))
        .filter(|(_, value)| value.is_finite())
        .collect()
}

fn draw(area: Area<'_>, title: &str, panels: &[Panel<'_>], last_step: f64) -> Drawn {
    area.fill(&WHITE)?;
    let mut rest = area.titled(&shortened(title), TITLE_FONT)?;
    for panel in panels {
        let (here, below) = rest.split_vertically(PANEL);
        draw_panel(&here, panel, last_step)?;
        rest = below;
    }
    area.present()
}

fn draw_panel(area: &Area<'_>, panel: &Panel<'_>, last_step: f64) -> Drawn {
    let mut chart = ChartBuilder::on(area)
        .margin_top(8)
        .margin_left(8)
        .margin_right(24)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(0.0..last_step, value_range(&panel.curves))?;
    chart
        .configure_mesh()
        .x_desc("step")
        .y_desc(panel.axis)
        .x_labels(8)
        .y_labels(6)
        .max_light_lines(0)
        .bold_line_style(GRID)
        .label_style(FONT)
        .x_label_formatter(&|step| tick_label(*step))
        .y_label_formatter(&|value| tick_label(*value))
        .draw()?;
    for Curve { label, colour, points } in &panel.curves {
        let line = colour.stroke_width(2);
        let drawn = chart.draw_series(LineSeries::new(points.iter().copied(), line))?;
        if !label.is_empty() {
            drawn.label(*label).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], line));
        }
        if points.len() <= DOTS {
            chart.draw_series(points.iter().map(|at| Circle::new(*at, 3, colour.filled())))?;
        }
    }
    if panel.curves.iter().any(|curve| !curve.label.is_empty()) {
        let mut legend = chart.configure_series_labels();
        legend.position(SeriesLabelPosition::UpperRight).label_font(FONT);
        legend.background_style(WHITE.mix(0.8)).border_style(GRID).draw()?;
    }
    Ok(())
}

/// The range of an axis that shows all curves, with a margin above and below.
fn value_range(curves: &[Curve<'_>]) -> Range<f64> {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| *value));
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
    let margin = if high > low { (high - low) / 20.0 } else { (high.abs() / 2.0).max(1e-9) };
    low - margin..high + margin
}

fn tick_label(value: f64) -> String {
    let trimmed = |digits: &str| digits.trim_end_matches('0').trim_end_matches('.').to_owned();
    if value != 0.0 && value.abs() < 1e-3 {
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').expect("an exponent");
        return format!("{}e{exponent}", trimmed(digits));
    }
    trimmed(&format!("{value:.4}"))
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
        assert_eq!(
            [2e-5, -1.5e-4, 0.0, 0.1 + 0.2, 400.0].map(tick_label),
            ["2e-5", "-1.5e-4", "0", "0.3", "400"]
        );
    }

    #[test]
    fn a_long_title_is_shortened() {
        let svg = plot(&"word ".repeat(100), &[], None);
        assert!(svg.lines().any(|line| line.starts_with("word") && line.ends_with('…')), "{svg}");
    }
}
