use crate::reference::matrix::{Matrix, MatrixMut};

/// `out[t, n] = x[t, first + n]`.
pub(crate) fn read_columns(x: Matrix<'_>, first: usize, mut out: MatrixMut<'_>) {
    for (row, column) in out.places() {
        out.put(row, column, x.at(row, first + column));
    }
}

/// `out[t, first + n] = x[t, n]`.
pub(crate) fn write_columns(x: Matrix<'_>, first: usize, mut out: MatrixMut<'_>) {
    for (row, column) in x.places() {
        out.put(row, first + column, x.at(row, column));
    }
}
