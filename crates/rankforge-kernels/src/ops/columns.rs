use crate::device::Kind;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// `out[t, n] = x[t, first + n]`: the columns of `x` from `first` on.
///
/// # Shapes
/// `x`: `T x K`; `out`: `T x N` with `first + N <= K`.
///
/// # Panics
/// When the shapes differ from these.
pub fn read_columns(x: View<'_>, first: usize, out: ViewMut<'_>) {
    expect_columns(out.as_view(), x, first);
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            cpu::columns::read_columns(cpu, x.host(device), first, out.host(device));
        }
        Kind::Reference(_) => {
            reference::columns::read_columns(x.reference(device), first, out.reference(device));
        }
    }
}

/// `out[t, first + n] = x[t, n]`; the other columns of `out` stay.
///
/// # Shapes
/// `x`: `T x N`; `out`: `T x K` with `first + N <= K`.
///
/// # Panics
/// When the shapes differ from these.
pub fn write_columns(x: View<'_>, first: usize, out: ViewMut<'_>) {
    expect_columns(x, out.as_view(), first);
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            cpu::columns::write_columns(cpu, x.host(device), first, out.host(device));
        }
        Kind::Reference(_) => {
            reference::columns::write_columns(x.reference(device), first, out.reference(device));
        }
    }
}

#[track_caller]
fn expect_columns(part: View<'_>, whole: View<'_>, first: usize) {
    let ((rows, columns), width) = ((part.rows(), part.columns()), whole.columns());
    assert!(
        rows == whole.rows() && first + columns <= width,
        "{rows} x {columns} as the columns from {first} on of a {} x {width} matrix",
        whole.rows()
    );
}
