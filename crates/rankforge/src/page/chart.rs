//! Charts as SVG: curves and histograms, for pages and for files of their own.

use plotters::backend::SVGBackend;
use plotters::chart::{ChartBuilder, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::coord::combinators::IntoLogRange;
use plotters::coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter};
use plotters::drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::{Color, RGBColor, ShapeStyle, WHITE};
use std::ops::Range;

/// Colours that stay apart for most readers with a colour vision deficiency (Okabe and Ito). The
/// pages have a lighter one for each where the reader's background is dark.
pub(crate) const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
];

const GRID: RGBColor = RGBColor(228, 228, 228);
const FAMILY: &str = "sans-serif";

/// The points of one curve are drawn as dots too if they are no more than this.
const DOTS: usize = 40;

/// A curve with more points than this is drawn by means of neighbouring points.
const MOST_POINTS: usize = 1000;

/// Size of a chart on a page, in pixels: texts stay legible where a phone shows it at four fifths.
pub(crate) const PAGE_SIZE: (u32, u32) = (440, 270);

/// How a chart on a page looks.
pub(crate) const PAGE_LOOK: Look =
    Look { font: 17, labels: (64, 42), ticks: (6, 5), legend: SeriesLabelPosition::UpperRight };

pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(crate) type Drawn = Result<(), DrawingAreaErrorKind<std::io::Error>>;

/// A chart: series over two axes.
pub(crate) struct Chart<'a> {
    pub(crate) x_axis: &'a str,
    pub(crate) y_axis: &'a str,
    pub(crate) x: Axis,
    pub(crate) y: Range<f64>,
    pub(crate) series: Vec<Series<'a>>,
    pub(crate) look: Look,
}

/// The range of an axis.
pub(crate) enum Axis {
    Linear(Range<f64>),
    Logarithmic(Range<f64>),
}

/// Sizes of a chart in pixels, and where its legend stands.
#[derive(Clone)]
pub(crate) struct Look {
    /// Plotters draws a text at four fifths of this size.
    pub(crate) font: u32,
    /// Width of the labels of the y axis, and height of those of the x axis.
    pub(crate) labels: (u32, u32),
    /// Greatest number of labels of either axis.
    pub(crate) ticks: (usize, usize),
    pub(crate) legend: SeriesLabelPosition,
}

/// One curve or histogram of a chart.
pub(crate) struct Series<'a> {
    /// Its name in the legend; empty if the axis already says it.
    pub(crate) name: &'a str,
    pub(crate) colour: RGBColor,
    pub(crate) form: Form,
    pub(crate) points: Vec<(f64, f64)>,
    /// A text beside each point, or none at all.
    pub(crate) texts: Vec<String>,
}

/// How the points of a series are drawn.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Form {
    Line,
    Dashed,
    /// Bars of this width from 0, whose left edges the points are.
    Bars(f64),
}

impl<'a> Series<'a> {
    /// A curve in one of [`COLOURS`], which begin anew after the last.
    pub(crate) fn line(name: &'a str, colour: usize, points: Vec<(f64, f64)>) -> Series<'a> {
        let colour = COLOURS[colour % COLOURS.len()];
        Series { name, colour, form: Form::Line, points, texts: Vec::new() }
    }
}

impl Chart<'_> {
    /// The chart as an SVG file of this size in pixels.
    pub(crate) fn svg(&self, size: (u32, u32)) -> String {
        svg(size, |area| self.draw(area))
    }

    /// Draws the chart in an area.
    pub(crate) fn draw(&self, area: &Area<'_>) -> Drawn {
        match &self.x {
            Axis::Linear(range) => self.draw_over(area, range.clone()),
            Axis::Logarithmic(range) => self.draw_over(area, range.clone().log_scale()),
        }
    }

    fn draw_over<X>(&self, area: &Area<'_>, x: X) -> Drawn
    where
        X: AsRangedCoord<Value = f64>,
        X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    {
        let Look { font, labels, ticks, legend } = self.look.clone();
        let font = (FAMILY, font);
        let mut chart = ChartBuilder::on(area)
            .margin(8)
            .margin_right(24)
            .x_label_area_size(labels.1)
            .y_label_area_size(labels.0)
            .build_cartesian_2d(x, self.y.clone())?;
        chart
            .configure_mesh()
            .x_desc(self.x_axis)
            .y_desc(self.y_axis)
            .x_labels(ticks.0)
            .y_labels(ticks.1)
            .max_light_lines(0)
            .bold_line_style(GRID)
            .label_style(font)
            .x_label_formatter(&|value| tick_label(*value))
            .y_label_formatter(&|value| tick_label(*value))
            .draw()?;
        for series in &self.series {
            let points = thinned(&series.points);
            let line = series.colour.stroke_width(2);
            let drawn = match series.form {
                Form::Line => chart.draw_series(LineSeries::new(points.iter().copied(), line))?,
                Form::Dashed => {
                    let dashed = DashedLineSeries::new(points.iter().copied(), 6, 4, line);
                    chart.draw_series(dashed)?
                }
                Form::Bars(width) => {
                    let bar = |&(x, y): &(f64, f64)| {
                        let filled = series.colour.mix(0.5).filled();
                        Rectangle::new([(x, 0.0), (x + width, y)], filled)
                    };
                    chart.draw_series(points.iter().filter(|point| point.1 > 0.0).map(bar))?
                }
            };
            if !series.name.is_empty() {
                let key = legend_style(series);
                drawn
                    .label(series.name)
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], key));
            }
            if series.form == Form::Line && points.len() <= DOTS {
                let dot = |at: &(f64, f64)| Circle::new(*at, 3, series.colour.filled());
                chart.draw_series(points.iter().map(dot))?;
            }
            for (point, text) in series.points.iter().zip(&series.texts) {
                let (x, y) = chart.backend_coord(point);
                area.draw(&Text::new(text.as_str(), (x + 6, y + 6), font))?;
            }
        }
        if self.series.iter().any(|series| !series.name.is_empty()) {
            let mut box_of_legend = chart.configure_series_labels();
            box_of_legend.position(legend).label_font(font);
            box_of_legend.background_style(WHITE.mix(0.8)).border_style(GRID).draw()?;
        }
        Ok(())
    }
}

/// An SVG file of this size in pixels.
pub(crate) fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Drawn) -> String {
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
    let drawn = area.fill(&WHITE).and_then(|()| draw(&area)).and_then(|()| area.present());
    drawn.expect("memory for the chart");
    drop(area);
    svg
}

fn legend_style(series: &Series<'_>) -> ShapeStyle {
    match series.form {
        Form::Line => series.colour.stroke_width(2),
        Form::Dashed => series.colour.mix(0.6).stroke_width(2),
        Form::Bars(_) => series.colour.mix(0.5).stroke_width(10),
    }
}

/// The range of an axis that shows all values, with a margin above and below.
pub(crate) fn value_range(values: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let low = values.clone().fold(f64::MAX, f64::min);
    let high = values.fold(f64::MIN, f64::max);
    let margin = if high > low { (high - low) / 20.0 } else { (high.abs() / 2.0).max(1e-9) };
    low - margin..high + margin
}

/// Means of as many neighbouring points as leave no more than [`MOST_POINTS`].
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let together = points.len().div_ceil(MOST_POINTS).max(1);
    let mean = |points: &[(f64, f64)]| {
        let (x, y) =
            points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (x / points.len() as f64, y / points.len() as f64)
    };
    points.chunks(together).map(mean).collect()
}

pub(crate) fn tick_label(value: f64) -> String {
    let trimmed = |digits: &str| digits.trim_end_matches('0').trim_end_matches('.').to_owned();
    if value != 0.0 && value.abs() < 1e-3 {
        let text = format!("{value:.2e}");
        let (digits, exponent) = text.split_once('e').expect("an exponent");
        return format!("{}e{exponent}", trimmed(digits));
    }
    trimmed(&format!("{value:.4}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            [2e-5, -1.5e-4, 0.0, 0.1 + 0.2, 400.0].map(tick_label),
            ["2e-5", "-1.5e-4", "0", "0.3", "400"]
        );
    }

    #[test]
    fn long_curves_are_drawn_by_means() {
        let points: Vec<(f64, f64)> = (0..2500).map(|x| (f64::from(x), 1.0)).collect();
        let drawn = thinned(&points);
        assert_eq!((drawn.len(), drawn[0]), (834, (1.0, 1.0)));
        assert_eq!(thinned(&points[..1000]), points[..1000]);
    }
}
