use crate::reference::matrix::MatrixMut;
use crate::settings::update_rule::{ADAFACTOR_EPSILON, OptimizerStep};

/// Adafactor of a matrix, by the means of its rows (`R x 1`) and columns (`C x 1`).
pub(crate) fn factored(
    step: &OptimizerStep,
    gradients: MatrixMut<'_>,
    parameters: MatrixMut<'_>,
    (mut row_means, mut column_means): (MatrixMut<'_>, MatrixMut<'_>),
) {
    let (rows, columns) = (parameters.rows, parameters.columns);
    let decay = step.adafactor_decay();
    let square = |row, column| {
        (gradients.at(row, column) * f64::from(step.gradient_scale)).powi(2) + ADAFACTOR_EPSILON
    };
    for row in 0..rows {
        let mean = (0..columns).map(|column| square(row, column)).sum::<f64>() / columns as f64;
        row_means.put(row, 0, decay * row_means.at(row, 0) + (1.0 - decay) * mean);
    }
    for column in 0..columns {
        let mean = (0..rows).map(|row| square(row, column)).sum::<f64>() / rows as f64;
        column_means.put(column, 0, decay * column_means.at(column, 0) + (1.0 - decay) * mean);
    }
    let mean = (0..rows).map(|row| row_means.at(row, 0)).sum::<f64>() / rows as f64;
    let moment = |row, column| row_means.at(row, 0) / mean * column_means.at(column, 0);
    apply(step, gradients, parameters, moment);
}

/// Adafactor of a vector.
pub(crate) fn full(
    step: &OptimizerStep,
    gradients: MatrixMut<'_>,
    parameters: MatrixMut<'_>,
    mut moment: MatrixMut<'_>,
) {
    let decay = step.adafactor_decay();
    for (row, column) in parameters.places() {
        let gradient = gradients.at(row, column) * f64::from(step.gradient_scale);
        let square = gradient * gradient + ADAFACTOR_EPSILON;
        moment.put(row, column, decay * moment.at(row, column) + (1.0 - decay) * square);
    }
    apply(step, gradients, parameters, |row, column| moment.at(row, column));
}

/// Changes the parameters by `lr g / sqrt(moment)`, whose root mean square is at most `lr`.
fn apply(
    step: &OptimizerStep,
    mut gradients: MatrixMut<'_>,
    mut parameters: MatrixMut<'_>,
    moment: impl Fn(usize, usize) -> f64,
) {
    let change = |gradients: &MatrixMut<'_>, row, column| {
        gradients.at(row, column) * f64::from(step.gradient_scale) / moment(row, column).sqrt()
    };
    let squares = gradients.places().map(|(row, column)| change(&gradients, row, column).powi(2));
    let count = (parameters.rows * parameters.columns) as f64;
    let rate = step.learning_rate / (squares.sum::<f64>() / count).sqrt().max(1.0);
    for (row, column) in parameters.places() {
        let kept = parameters.at(row, column) * (1.0 - step.learning_rate * step.weight_decay);
        parameters.put(row, column, kept - rate * change(&gradients, row, column));
        gradients.put(row, column, 0.0);
    }
}
