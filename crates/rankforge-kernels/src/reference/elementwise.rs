use crate::reference::matrix::{Matrix, MatrixMut};
use crate::settings::zeros::Zeros;

/// `out += x`.
pub(crate) fn add(x: Matrix<'_>, mut out: MatrixMut<'_>) {
    for (row, column) in x.places() {
        out.add(row, column, x.at(row, column));
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
