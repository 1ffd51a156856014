use crate::reference::matrix::{Matrix, MatrixMut};
use crate::settings::norm::{LayerNormBackward, LayerNormOf, SMALLEST_NORM};

/// `out = (x - mean) r weight + bias` with `r = 1 / sqrt(variance + epsilon)`, row by row; the
/// statistics are `mean` and `r`. Nothing is written where there are no columns.
pub(crate) fn layer_norm(
    norm: LayerNormOf<Matrix<'_>>,
    x: Matrix<'_>,
    mut out: MatrixMut<'_>,
    mut statistics: MatrixMut<'_>,
) {
    let LayerNormOf { weight, bias, epsilon } = norm;
    let count = x.columns as f64;
    for row in (0..x.rows).filter(|_| x.columns > 0) {
        let elements = || (0..x.columns).map(|column| x.at(row, column));
        let mean = elements().sum::<f64>() / count;
        let variance = elements().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        let reciprocal = 1.0 / (variance + f64::from(epsilon)).sqrt();
        statistics.put(row, 0, mean);
        statistics.put(row, 1, reciprocal);
        for (column, x) in elements().enumerate() {
            let shift = bias.map_or(0.0, |bias| bias.at(0, column));
            out.put(row, column, (x - mean) * reciprocal * weight.at(0, column) + shift);
        }
    }
}

/// With `n = (x - mean) r` and `g = d_out weight`:
/// `d_x (+)= r (g - avg(g) - n avg(g n))`, averages over the row; `d_weight += Σ d_out n` and
/// `d_bias += Σ d_out`, sums over the rows.
pub(crate) fn layer_norm_backward(
    inputs: LayerNormBackward<Matrix<'_>>,
    accumulate: bool,
    mut d_x: MatrixMut<'_>,
    mut d_weight: Option<MatrixMut<'_>>,
    mut d_bias: Option<MatrixMut<'_>>,
) {
    let LayerNormBackward { d_out, x, weight, statistics } = inputs;
    let count = x.columns as f64;
    let normal = |row, column| (x.at(row, column) - statistics.at(row, 0)) * statistics.at(row, 1);
    let scaled = |row, column| d_out.at(row, column) * weight.at(0, column);
    for row in 0..x.rows {
        let columns = || 0..x.columns;
        let mean = columns().map(|column| scaled(row, column)).sum::<f64>() / count;
        let along = columns().map(|column| scaled(row, column) * normal(row, column));
        let along = along.sum::<f64>() / count;
        for column in columns() {
            let centred = scaled(row, column) - mean - normal(row, column) * along;
            let before = if accumulate { d_x.at(row, column) } else { 0.0 };
            d_x.put(row, column, before + statistics.at(row, 1) * centred);
        }
    }
    for column in 0..x.columns {
        let rows = || 0..x.rows;
        if let Some(d_weight) = &mut d_weight {
            let sum = rows().map(|row| d_out.at(row, column) * normal(row, column)).sum();
            d_weight.add(0, column, sum);
        }
        if let Some(d_bias) = &mut d_bias {
            d_bias.add(0, column, rows().map(|row| d_out.at(row, column)).sum());
        }
    }
}

/// `out = x / max(|x|, 1e-12)`, row by row; `norms` receives `|x|`. NaN goes through.
pub(crate) fn normalize(x: Matrix<'_>, mut out: MatrixMut<'_>, mut norms: MatrixMut<'_>) {
    for row in 0..x.rows {
        let norm = (0..x.columns).map(|column| x.at(row, column).powi(2)).sum::<f64>().sqrt();
        norms.put(row, 0, norm);
        for column in 0..x.columns {
            out.put(row, column, x.at(row, column) / divisor(norm));
        }
    }
}

/// `d_x = (d_out - out (d_out · out)) / |x|`, and 0 where `|x|` is at most 1e-12. NaN goes through.
pub(crate) fn normalize_backward(
    d_out: Matrix<'_>,
    out: Matrix<'_>,
    norms: Matrix<'_>,
    mut d_x: MatrixMut<'_>,
) {
    for row in 0..out.rows {
        let norm = norms.at(row, 0);
        let without_direction = norm <= f64::from(SMALLEST_NORM);
        let products = (0..out.columns).map(|column| d_out.at(row, column) * out.at(row, column));
        let along: f64 = products.sum();
        for column in 0..out.columns {
            let across = d_out.at(row, column) - out.at(row, column) * along;
            d_x.put(row, column, if without_direction { 0.0 } else { across / norm });
        }
    }
}

fn divisor(norm: f64) -> f64 {
    let smallest = f64::from(SMALLEST_NORM);
    if norm < smallest { smallest } else { norm }
}
