use crate::device::Kind;
use crate::settings::dropout::Dropout;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// `x = mask * x / (1 - p)` in place; the index of an element is `row * columns + column`. Its own
/// backward.
pub fn dropout(dropout: Dropout, x: ViewMut<'_>) {
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::dropout::dropout(cpu, dropout, x.host(device)),
        Kind::Reference(_) => reference::dropout::dropout(dropout, x.reference(device)),
    }
}

/// `out = mask * x / (1 - p)`: [`dropout`] that leaves `x` as it is.
///
/// # Shapes
/// Both of the same shape.
///
/// # Panics
/// When the shapes differ.
pub fn dropout_to(dropout: Dropout, x: View<'_>, out: ViewMut<'_>) {
    out.expect_shape("out", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::dropout::dropout_to(cpu, dropout, x.host(device), out.host(device)),
        Kind::Reference(_) => {
            reference::dropout::dropout_to(dropout, x.reference(device), out.reference(device));
        }
    }
}
