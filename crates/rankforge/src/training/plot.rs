//! A plot of a run as an SVG file: loss, learning rate and the main evaluation metric over steps.

use crate::trainer_state::LogRecord;
use std::fmt::Write;

const WIDTH: f64 = 760.0;
const PANEL: f64 = 190.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 44.0;
const GAP: f64 = 46.0;

/// One curve of a panel.
struct Curve {
    label: String,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

/// The plot of a log, as SVG. `metric` is the evaluation metric of the last panel, with its prefix
/// `eval_`.
pub(crate) fn plot(title: &str, log: &[LogRecord], metric: Option<&str>) -> String {
    let curve = |key: &str, label: &str, colour| Curve {
        label: label.to_owned(),
        colour,
        points: points(log, key),
    };
    let mut panels = vec![
        (
            "loss",
            vec![curve("loss", "training", "#1f6feb"), curve("eval_loss", "evaluation", "#d1570b")],
        ),
        ("learning rate", vec![curve("learning_rate", "", "#2f8f4e")]),
    ];
    if let Some(metric) = metric.filter(|metric| *metric != "eval_loss") {
        panels.push((metric, vec![curve(metric, "", "#8a3ffc")]));
    }
    panels.iter_mut().for_each(|(_, curves)| curves.retain(|curve| !curve.points.is_empty()));
    panels.retain(|(_, curves)| !curves.is_empty());
    let last_step = log.iter().filter_map(|record| record.get("step")?.as_f64());
    let last_step = last_step.fold(1.0, f64::max);
    let height = TOP + panels.len() as f64 * (PANEL + GAP);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"22\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    for (index, (name, curves)) in panels.iter().enumerate() {
        let top = TOP + index as f64 * (PANEL + GAP);
        panel(&mut svg, name, curves, top, last_step);
    }
    svg.push_str("</svg>\n");
    svg
}

/// Steps and values of the log records that have `key`.
fn points(log: &[LogRecord], key: &str) -> Vec<(f64, f64)> {
    log.iter()
        .filter_map(|record| Some((record.get("step")?.as_f64()?, record.get(key)?.as_f64()?)))
        .filter(|(_, value)| value.is_finite())
        .collect()
}

fn panel(svg: &mut String, name: &str, curves: &[Curve], top: f64, last_step: f64) {
    let values = || curves.iter().flat_map(|curve| curve.points.iter().map(|(_, value)| *value));
    let ticks = ticks(values().fold(f64::INFINITY, f64::min), values().fold(f64::MIN, f64::max));
    let (low, high) = (ticks[0], ticks[ticks.len() - 1]);
    let (inner, bottom) = (WIDTH - LEFT - RIGHT, top + PANEL);
    let x = |step: f64| LEFT + inner * step / last_step;
    let y = |value: f64| bottom - PANEL * (value - low) / (high - low);
    let mut line = |text: String| {
        svg.push_str(&text);
        svg.push('\n');
    };
    line(format!(
        "<text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#333\">{}</text>",
        top - 6.0,
        escaped(name)
    ));
    for tick in &ticks {
        let height = y(*tick);
        line(format!(
            "<path d=\"M{LEFT} {height:.1}H{:.1}\" stroke=\"#e4e4e4\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#555\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            height + 4.0,
            tick_label(*tick)
        ));
    }
    for step in self::ticks(0.0, last_step).into_iter().filter(|step| *step <= last_step) {
        line(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
            x(step),
            bottom + 16.0,
            tick_label(step)
        ));
    }
    for (index, curve) in curves.iter().enumerate() {
        let mut path = String::new();
        for (step, value) in &curve.points {
            let _ = write!(path, "{:.1},{:.1} ", x(*step), y(*value));
        }
        let colour = curve.colour;
        line(format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\"/>",
            path.trim_end()
        ));
        if let [(step, value)] = curve.points[..] {
            line(format!(
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"{colour}\"/>",
                x(step),
                y(value)
            ));
        }
        line(format!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
            WIDTH - RIGHT,
            top + 14.0 + 15.0 * index as f64,
            escaped(&curve.label)
        ));
    }
}

/// Three to eight round numbers that enclose `low..high`.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = if high > low { high - low } else { high.abs().max(1e-9) };
    let rough = span / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power);
    let step = step.into_iter().find(|step| *step >= rough).unwrap_or(10.0 * power);
    let first = (low / step).floor() as i64;
    let last = ((high / step).ceil() as i64).max(first + 1);
    (first..=last).map(|index| index as f64 * step).collect()
}

fn tick_label(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 {
        return format!("{value:.1e}");
    }
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn record(value: Value) -> LogRecord {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn every_logged_figure_gets_a_curve_and_names_are_escaped() {
        let log = [
            record(json!({"step": 10, "loss": 0.7, "learning_rate": 1e-5})),
            record(json!({"step": 20, "loss": 0.5, "learning_rate": 2e-5})),
            record(json!({"step": 20, "eval_loss": 0.6, "eval_dev_map": 0.4})),
        ];
        let svg = plot("a < b", &log, Some("eval_dev_map"));
        assert_eq!(svg.matches("<polyline").count(), 4, "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains("eval_dev_map"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }

    #[test]
    fn a_log_without_figures_or_with_one_value_is_a_plot_all_the_same() {
        assert!(plot("empty", &[], None).ends_with("</svg>\n"));
        let svg = plot("one", &[record(json!({"step": 1, "loss": 0.0}))], None);
        assert!(svg.contains("<circle") && !svg.contains("NaN"), "{svg}");
    }

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        assert_eq!(ticks(0.0, 1.0), [0.0, 0.2, 0.4, 0.6000000000000001, 0.8, 1.0]);
        let ticks = ticks(0.31, 0.33);
        assert!(ticks[0] <= 0.31 && *ticks.last().unwrap() >= 0.33, "{ticks:?}");
    }
}
