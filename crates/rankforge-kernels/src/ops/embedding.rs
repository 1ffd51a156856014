use crate::device::Kind;
use crate::indices::Indices;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// `out[t] = table[ids[t]]`, or `out[t] += table[ids[t]]` when `accumulate`.
///
/// # Shapes
/// `table`: `V x E`; `ids`: `T`; `out`: `T x E`.
///
/// # Panics
/// When the shapes differ from these, or an id is not below `V`.
pub fn gather(table: View<'_>, ids: &Indices, accumulate: bool, out: ViewMut<'_>) {
    check_ids(ids, table.rows());
    let (rows, columns) = (out.rows(), out.columns());
    assert_eq!(
        (rows, columns),
        (ids.len(), table.columns()),
        "gather of {} rows of {table:?}",
        rows
    );
    let device = table.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (ids, out) = (ids.host(device), out.host(device));
            cpu::embedding::gather(cpu, table.host(device), ids, accumulate, out);
        }
        Kind::Reference(_) => {
            let (ids, out) = (ids.reference(device), out.reference(device));
            reference::embedding::gather(table.reference(device), ids, accumulate, out);
        }
    }
}

/// `d_table[ids[t]] += d_out[t]`, each sum in the order of `t`.
///
/// # Shapes
/// `d_out`: `T x E`; `ids`: `T`; `d_table`: `V x E`.
///
/// # Panics
/// When the shapes differ from these, or an id is not below `V`.
pub fn gather_backward(d_out: View<'_>, ids: &Indices, d_table: ViewMut<'_>) {
    check_ids(ids, d_table.rows());
    let (rows, columns) = (d_out.rows(), d_out.columns());
    assert_eq!((rows, columns), (ids.len(), d_table.columns()), "gradient of {} ids", ids.len());
    let device = d_out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (ids, d_table) = (ids.host(device), d_table.host(device));
            cpu::embedding::gather_backward(cpu, d_out.host(device), ids, d_table);
        }
        Kind::Reference(_) => {
            let (ids, d_table) = (ids.reference(device), d_table.reference(device));
            reference::embedding::gather_backward(d_out.reference(device), ids, d_table);
        }
    }
}

#[track_caller]
pub(super) fn check_ids(ids: &Indices, rows: usize) {
    if let Some(largest) = ids.values().iter().max() {
        assert!((*largest as usize) < rows, "id {largest} of a table of {rows} rows");
    }
}
