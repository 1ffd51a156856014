use crate::reference::matrix::{Matrix, MatrixMut};
use crate::reference::memory::Integers;

/// `out[t] = table[ids[t]]`, or `out[t] += table[ids[t]]` when `accumulate`.
pub(crate) fn gather(table: Matrix<'_>, ids: &Integers, accumulate: bool, mut out: MatrixMut<'_>) {
    for (token, column) in out.places() {
        let element = table.at(ids.at(token), column);
        let before = if accumulate { out.at(token, column) } else { -0.0 };
        out.put(token, column, before + element);
    }
}

/// `d_table[ids[t]] += d_out[t]`, in the order of `t`; each sum is rounded to `f32`.
pub(crate) fn gather_backward(d_out: Matrix<'_>, ids: &Integers, mut d_table: MatrixMut<'_>) {
    for (token, column) in d_out.places() {
        d_table.add(ids.at(token), column, d_out.at(token, column));
    }
}
