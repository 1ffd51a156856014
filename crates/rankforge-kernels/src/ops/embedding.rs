use crate::{Indices, View, ViewMut};

/// `out[t] = table[ids[t]]`, or `out[t] += table[ids[t]]` when `accumulate`.
///
/// # Shapes
/// `table`: `V x E`; `ids`: `T`; `out`: `T x E`.
///
/// # Panics
/// When an id is not below `V`.
pub fn gather(table: View<'_>, ids: &Indices, accumulate: bool, out: ViewMut<'_>) {
    unimplemented!()
}

/// `d_table[ids[t]] += d_out[t]`, in the order of `t` for each row: ids are sorted, then reduced.
///
/// # Shapes
/// `d_out`: `T x E`; `ids`: `T`; `d_table`: `V x E`.
pub fn gather_backward(d_out: View<'_>, ids: &Indices, d_table: ViewMut<'_>) {
    unimplemented!()
}
