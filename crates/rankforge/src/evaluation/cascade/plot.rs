//! Quality against time per query over depth, as an SVG file.

use crate::evaluation::cascade::report::{CascadeReport, StageReport};
use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::coord::combinators::IntoLogRange;
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Text};
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor, WHITE};
use std::ops::Range;

/// Size in pixels.
const SIZE: (u32, u32) = (860, 460);

/// Plotters draws a text at four fifths of the size that it is given.
const FONT: (&str, u32) = ("sans-serif", 16);
const POINT_FONT: (&str, u32) = ("sans-serif", 14);

const GRID: RGBColor = RGBColor(228, 228, 228);

/// Colours that stay apart for most readers with a colour vision deficiency (Okabe and Ito); the
/// curves of further first stages begin anew.
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A first stage and what reranking makes of it.
struct Curve<'a> {
    name: &'a str,
    /// Milliseconds, value of the metric, number of documents reranked.
    points: Vec<(f64, f64, usize)>,
}

/// The plot of the first metric of a report, as SVG: a curve for each first stage, with a point for
/// the stage alone and for each depth.
pub(super) fn plot(report: &CascadeReport) -> String {
    let metric = &report.metrics[0];
    let mut curves: Vec<Curve<'_>> = Vec::new();
    for stage in &report.stages {
        let point = point(stage, metric);
        match curves.iter_mut().find(|curve| curve.name == stage.first_stage) {
            Some(curve) => curve.points.push(point),
            None => curves.push(Curve { name: &stage.first_stage, points: vec![point] }),
        }
    }
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&area, metric, &curves).expect("memory for the plot");
    drop(area);
    svg
}

fn point(stage: &StageReport, metric: &str) -> (f64, f64, usize) {
    // A logarithmic axis has no 0; a clock may be too coarse to see a stage at all.
    let milliseconds = (stage.seconds_per_query.mean * 1e3).max(1e-3);
    (milliseconds, stage.metrics.get(metric).expect("a metric of the report"), stage.depth)
}

fn draw(area: &Area<'_>, metric: &str, curves: &[Curve<'_>]) -> Drawn {
    area.fill(&WHITE)?;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let times = decades(points().map(|point| point.0));
    let values = with_margin(points().map(|point| point.1), curves.len());
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .margin_right(28)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(times.log_scale(), values)?;
    chart
        .configure_mesh()
        .x_desc("time per query, milliseconds (logarithmic)")
        .y_desc(metric)
        .x_labels(12)
        .y_labels(8)
        .max_light_lines(0)
        .bold_line_style(GRID)
        .label_style(FONT)
        .x_label_formatter(&|milliseconds| format!("{milliseconds}"))
        .y_label_formatter(&|value| format!("{value:.3}"))
        .draw()?;
    for (curve, colour) in curves.iter().zip(COLOURS.iter().cycle()) {
        let line = colour.stroke_width(2);
        let drawn =
            chart.draw_series(LineSeries::new(curve.points.iter().map(|p| (p.0, p.1)), line))?;
        drawn.label(curve.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], line));
        let dots = curve.points.iter().map(|p| Circle::new((p.0, p.1), 4, colour.filled()));
        chart.draw_series(dots)?;
        let labels = curve.points.iter().map(|&(time, value, depth)| {
            let place = chart.backend_coord(&(time, value));
            let text = if depth == 0 { "first stage".to_owned() } else { depth.to_string() };
            Text::new(text, (place.0 + 6, place.1 + 6), POINT_FONT)
        });
        labels.into_iter().try_for_each(|label| area.draw(&label))?;
    }
    let mut legend = chart.configure_series_labels();
    legend.position(SeriesLabelPosition::LowerRight).label_font(FONT);
    legend.background_style(WHITE.mix(0.8)).border_style(GRID).draw()?;
    area.present()
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
