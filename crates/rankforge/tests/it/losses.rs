//! Losses without a model: golden values, finite differences, plans and errors.

mod by_name;
mod cross_encoder;
mod cross_goldens;
mod dual_encoder;
mod dual_goldens;
mod dual_refusals;
mod gist_embed;
mod matryoshka;
mod refusals;

use rankforge::Device;
use rankforge::encoder::Outputs;
use rankforge::losses::{
    Cell, Column, Draw, Examples, Labels, Loss, LossBatch, LossOutput, Targets,
};

const DRAW: Draw = Draw { seed: 12, step: 0 };

/// Tolerance for golden values, which have six decimals.
const GOLDEN: f64 = 1e-5;

/// A text column.
fn column<S: AsRef<str>>(name: &str, texts: &[S]) -> Column {
    let cells = texts.iter().map(|text| Cell::Text(text.as_ref().to_owned())).collect();
    Column { name: name.to_owned(), prompt: None, cells }
}

fn pairs() -> Vec<Column> {
    vec![column("query", &["q1", "q2"]), column("answer", &["d1", "d2"])]
}

fn triplets() -> Vec<Column> {
    let mut columns = pairs();
    columns.push(column("negative", &["n1", "n2"]));
    columns
}

/// Rows whose texts are `column:row`, such as "1:0".
fn numbered(rows: usize, columns: usize) -> Examples {
    let texts = |column: usize| (0..rows).map(move |row| format!("{column}:{row}"));
    let named = |index: usize| column(&index.to_string(), &texts(index).collect::<Vec<_>>());
    Examples { columns: (0..columns).map(named).collect(), labels: Labels::None }
}

/// Distinct values in -2..2.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|index| (index as f32 * 1.7 + 0.3).sin() * 2.0).collect()
}

/// Computes a loss on a new device.
fn compute(loss: &dyn Loss, outputs: &Outputs, rows: usize, targets: &Targets) -> LossOutput {
    let device = Device::cpu(Some(2)).unwrap();
    loss.compute(&LossBatch {
        outputs,
        rows,
        targets,
        draw: DRAW,
        layers: &[],
        parameters: &[],
        device: &device,
    })
}

/// Compares the gradient with central differences of step `h = 2^-10`. The truncation error is
/// `h^2 / 6` times the third derivative, which must be at most `bend`. `noise` bounds the rounding
/// error of the difference quotient: 1e-6 where values are computed in f64.
#[track_caller]
fn assert_finite_differences(
    compute: &dyn Fn(&Outputs) -> LossOutput,
    outputs: &Outputs,
    bend: f64,
    noise: f64,
) {
    let analytic = compute(outputs).d_outputs;
    let step = 2f32.powi(-10);
    let tolerance = f64::from(step).powi(2) / 6.0 * bend + noise;
    for index in 0..outputs.values.len() {
        let at = |value: f32| {
            let mut moved = outputs.clone();
            moved.values[index] = value;
            compute(&moved).value
        };
        let (low, high) = (outputs.values[index] - step, outputs.values[index] + step);
        let numeric = (at(high) - at(low)) / f64::from(high - low);
        let got = f64::from(analytic.values[index]);
        assert!((numeric - got).abs() < tolerance, "element {index}: {got}, expected {numeric}");
    }
}

/// Bound of the rounding error of a difference quotient, for a loss of scores that are dot products
/// of f32 vectors of about ten elements: a few roundings of a score, times the scale, divided by
/// twice the step.
fn score_noise(scale: f64) -> f64 {
    4.0 * f64::from(f32::EPSILON) * scale / (2.0 * 2f64.powi(-10))
}
