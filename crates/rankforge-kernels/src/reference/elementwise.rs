use crate::reference::matrix::{Matrix, MatrixMut};
use crate::settings::zeros::Zeros;

/// `out += x`.
pub(crate) fn add(x: Matrix<'_>, mut out: MatrixMut<'_>) {
    for (row, column) in x.places() {
        out.add(row, column, x.at(row, column));
    }
}

/// `out *= factor`.
pub(crate) fn scale(factor: f32, mut out: MatrixMut<'_>) {
    for (row, column) in out.places() {
        out.put(row, column, out.at(row, column) * f64::from(factor));
    }
}

/// `out[0, n] += Σₜ x[t, n]`.
pub(crate) fn column_sums(x: Matrix<'_>, mut out: MatrixMut<'_>) {
    for column in 0..x.columns {
        out.add(0, column, (0..x.rows).map(|row| x.at(row, column)).sum());
    }
}

/// Whether all elements are zero, and whether all are negative zeros.
pub(crate) fn zeros(x: Matrix<'_>) -> Zeros {
    let mut found = Zeros { all: true, all_negative: true };
    for (row, column) in x.places() {
        let element = x.at(row, column);
        found.all &= element == 0.0;
        found.all_negative &= element == 0.0 && element.is_sign_negative();
    }
    found
}
