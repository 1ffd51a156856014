use crate::device::Kind;
use crate::settings::zeros::Zeros;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// `out += x`.
///
/// # Panics
/// When the shapes differ.
pub fn add(x: View<'_>, out: ViewMut<'_>) {
    out.expect_shape("out", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::elementwise::add(cpu, x.host(device), out.host(device)),
        Kind::Reference(_) => {
            reference::elementwise::add(x.reference(device), out.reference(device));
        }
    }
}

/// `out *= factor`.
pub fn scale(factor: f32, out: ViewMut<'_>) {
    let device = out.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::elementwise::scale(cpu, factor, out.host(device)),
        Kind::Reference(_) => reference::elementwise::scale(factor, out.reference(device)),
    }
}

/// `out[0, n] += Σₜ x[t, n]`: the gradient of a bias whose weight is not trained.
///
/// # Shapes
/// `x`: `T x N`; `out`: `1 x N`.
///
/// # Panics
/// When the shapes differ from these.
pub fn column_sums(x: View<'_>, out: ViewMut<'_>) {
    out.expect_shape("out", 1, x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::elementwise::column_sums(cpu, x.host(device), out.host(device)),
        Kind::Reference(_) => {
            reference::elementwise::column_sums(x.reference(device), out.reference(device));
        }
    }
}

/// Whether all elements of `x` are zero, and whether all are negative zeros; both are true of an
/// empty matrix.
///
/// Waits for the device.
pub fn zeros(x: View<'_>) -> Zeros {
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::elementwise::zeros(cpu, x.host(device)),
        Kind::Reference(_) => reference::elementwise::zeros(x.reference(device)),
    }
}
