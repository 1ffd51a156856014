use crate::device::Kind;
use crate::settings::activation::{Activation, Gate};
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// `out = function(x)`; on the CPU with the bits that the epilogue of a product gives it.
///
/// # Panics
/// When the shapes differ.
pub fn activate(function: Activation, x: View<'_>, out: ViewMut<'_>) {
    out.expect_shape("out", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            cpu::activation::activate(cpu, function, x.host(device), out.host(device));
        }
        Kind::Reference(_) => {
            reference::activation::activate(function, x.reference(device), out.reference(device));
        }
    }
}

/// `d_x = d_out * function'(x)`; `x` is the input of the forward pass.
///
/// # Panics
/// When the shapes differ.
pub fn activate_backward(function: Activation, d_out: View<'_>, x: View<'_>, d_x: ViewMut<'_>) {
    d_out.expect_shape("d_out", x.rows(), x.columns());
    d_x.expect_shape("d_x", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (d_out, x, d_x) = (d_out.host(device), x.host(device), d_x.host(device));
            cpu::activation::activate_backward(cpu, function, d_out, x, d_x);
        }
        Kind::Reference(_) => {
            let (d_out, x) = (d_out.reference(device), x.reference(device));
            reference::activation::activate_backward(function, d_out, x, d_x.reference(device));
        }
    }
}

/// `out = gate(x[.., ..F]) * x[.., F..]`.
///
/// # Shapes
/// `x`: `T x 2F`; `out`: `T x F`.
///
/// # Panics
/// When the shapes differ from these.
pub fn gated(gate: Gate, x: View<'_>, out: ViewMut<'_>) {
    x.expect_shape("x", out.rows(), 2 * out.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => cpu::activation::gated(cpu, gate, x.host(device), out.host(device)),
        Kind::Reference(_) => {
            reference::activation::gated(gate, x.reference(device), out.reference(device));
        }
    }
}

/// Backward of [`gated`]; needs its input.
///
/// # Shapes
/// `d_out`: `T x F`; `x`, `d_x`: `T x 2F`.
///
/// # Panics
/// When the shapes differ from these.
pub fn gated_backward(gate: Gate, d_out: View<'_>, x: View<'_>, d_x: ViewMut<'_>) {
    x.expect_shape("x", d_out.rows(), 2 * d_out.columns());
    d_x.expect_shape("d_x", x.rows(), x.columns());
    let device = x.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (d_out, x, d_x) = (d_out.host(device), x.host(device), d_x.host(device));
            cpu::activation::gated_backward(cpu, gate, d_out, x, d_x);
        }
        Kind::Reference(_) => {
            let (d_out, x) = (d_out.reference(device), x.reference(device));
            reference::activation::gated_backward(gate, d_out, x, d_x.reference(device));
        }
    }
}
