use crate::cpu::machine::Cpu;
use crate::cpu::math::{normal, sigmoid, sigmoid_and_slope, tanh};
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::for_row_blocks;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::activation::{Activation, Gate};

pub(crate) fn activate(cpu: &Cpu, function: Activation, x: Matrix<'_>, out: MatrixMut<'_>) {
    for_row_blocks(cpu, x.data.len(), 1, (x.flat(), out.flat()), |_, (x, out)| {
        dispatch(cpu.isa(), Activate { function, x: x.data, out: out.data });
    });
}

pub(crate) fn activate_backward(
    cpu: &Cpu,
    function: Activation,
    d_out: Matrix<'_>,
    x: Matrix<'_>,
    d_x: MatrixMut<'_>,
) {
    let operands = (d_out.flat(), x.flat(), d_x.flat());
    for_row_blocks(cpu, x.data.len(), 1, operands, |_, (d_out, x, d_x)| {
        let (d_out, x, d_x) = (d_out.data, x.data, d_x.data);
        dispatch(cpu.isa(), ActivateBackward { function, d_out, x, d_x });
    });
}

pub(crate) fn gated(cpu: &Cpu, gate: Gate, x: Matrix<'_>, out: MatrixMut<'_>) {
    let (rows, columns, width) = (x.rows, x.columns, out.columns);
    for_row_blocks(cpu, rows, columns, (x, out), |_, (x, out)| {
        dispatch(cpu.isa(), Gated { gate, width, x: x.data, out: out.data });
    });
}

pub(crate) fn gated_backward(
    cpu: &Cpu,
    gate: Gate,
    d_out: Matrix<'_>,
    x: Matrix<'_>,
    d_x: MatrixMut<'_>,
) {
    let (rows, columns, width) = (x.rows, x.columns, d_out.columns);
    for_row_blocks(cpu, rows, columns, (d_out, x, d_x), |_, (d_out, x, d_x)| {
        let (d_out, x, d_x) = (d_out.data, x.data, d_x.data);
        dispatch(cpu.isa(), GatedBackward { gate, width, d_out, x, d_x });
    });
}

/// An elementwise function as a type, so that loops are compiled once for each function.
pub(crate) trait Function {
    fn value<S: Simd>(x: S::V) -> S::V;
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V);
}

/// Work that is generic over an elementwise function; `run` must be `#[inline(always)]`.
pub(crate) trait WithFunction<S: Simd> {
    fn run<F: Function>(self);
}

impl Activation {
    /// Runs `work` compiled for this function.
    #[inline(always)]
    pub(crate) fn select<S: Simd>(self, work: impl WithFunction<S>) {
        match self {
            Activation::Identity => work.run::<Identity>(),
            Activation::Gelu => work.run::<Gelu>(),
            Activation::GeluTanh => work.run::<GeluTanh>(),
            Activation::Relu => work.run::<Relu>(),
            Activation::Tanh => work.run::<Tanh>(),
            Activation::Silu => work.run::<Silu>(),
            Activation::Sigmoid => work.run::<Sigmoid>(),
        }
    }
}

impl Gate {
    #[inline(always)]
    fn select<S: Simd>(self, work: impl WithFunction<S>) {
        match self {
            Gate::GeGlu => work.run::<Gelu>(),
            Gate::GeGluTanh => work.run::<GeluTanh>(),
            Gate::SwiGlu => work.run::<Silu>(),
        }
    }
}

struct Identity;
struct Gelu;
struct GeluTanh;
struct Relu;
struct Tanh;
struct Silu;
struct Sigmoid;

impl Function for Identity {
    #[inline(always)]
    fn value<S: Simd>(x: S::V) -> S::V {
        x
    }

    #[inline(always)]
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
        (x, S::splat(1.0))
    }
}

impl Function for Gelu {
    #[inline(always)]
    fn value<S: Simd>(x: S::V) -> S::V {
        S::mul(x, normal::<S>(x).0)
    }

    #[inline(always)]
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
        let (cdf, density) = normal::<S>(x);
        (S::mul(x, cdf), S::mul_add(x, density, cdf))
    }
}

/// `sqrt(2 / π)`, doubled: `(1 + tanh(u)) / 2 = σ(2u)`.
const GELU_TANH_SCALE: f32 = 2.0 * 0.797_884_6;
const GELU_TANH_CUBE: f32 = 0.044_715;

impl Function for GeluTanh {
    #[inline(always)]
    fn value<S: Simd>(x: S::V) -> S::V {
        let square = S::mul(x, x);
        let cubic = S::mul_add(square, S::splat(GELU_TANH_CUBE), S::splat(1.0));
        let u = S::mul(S::mul(x, S::splat(GELU_TANH_SCALE)), cubic);
        S::mul(x, sigmoid::<S>(u))
    }

    #[inline(always)]
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
        let square = S::mul(x, x);
        let cubic = S::mul_add(square, S::splat(GELU_TANH_CUBE), S::splat(1.0));
        let scaled = S::mul(x, S::splat(GELU_TANH_SCALE));
        let (sigmoid, slope) = sigmoid_and_slope::<S>(S::mul(scaled, cubic));
        let inner = S::mul_add(square, S::splat(3.0 * GELU_TANH_CUBE), S::splat(1.0));
        (S::mul(x, sigmoid), S::mul_add(S::mul(scaled, inner), slope, sigmoid))
    }
}

impl Function for Relu {
    #[inline(always)]
    fn value<S: Simd>(x: S::V) -> S::V {
        // `max` returns its second operand when one is NaN, so NaN goes through.
        S::max(S::splat(0.0), x)
    }

    #[inline(always)]
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
        let zero = S::splat(0.0);
        (S::max(zero, x), S::select_less(zero, x, S::splat(1.0), zero))
    }
}

impl Function for Tanh {
    #[inline(always)]
    fn value<S: Simd>(x: S::V) -> S::V {
        tanh::<S>(x)
    }

    #[inline(always)]
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
        // 1 - tanh² = 4 σ(2x) (1 - σ(2x)), which does not cancel.
        let (_, slope) = sigmoid_and_slope::<S>(S::add(x, x));
        (tanh::<S>(x), S::mul(slope, S::splat(4.0)))
    }
}

impl Function for Silu {
    #[inline(always)]
    fn value<S: Simd>(x: S::V) -> S::V {
        S::mul(x, sigmoid::<S>(x))
    }

    #[inline(always)]
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
        let (sigmoid, slope) = sigmoid_and_slope::<S>(x);
        (S::mul(x, sigmoid), S::mul_add(x, slope, sigmoid))
    }
}

impl Function for Sigmoid {
    #[inline(always)]
    fn value<S: Simd>(x: S::V) -> S::V {
        sigmoid::<S>(x)
    }

    #[inline(always)]
    fn value_and_slope<S: Simd>(x: S::V) -> (S::V, S::V) {
        sigmoid_and_slope::<S>(x)
    }
}

struct Activate<'a> {
    function: Activation,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Activate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.function.select::<S>(self);
    }
}

impl<S: Simd> WithFunction<S> for Activate<'_> {
    #[inline(always)]
    fn run<F: Function>(self) {
        for (x, out) in self.x.chunks(S::LANES).zip(self.out.chunks_mut(S::LANES)) {
            store_up_to::<S>(F::value::<S>(load_up_to::<S>(x)), out);
        }
    }
}

struct ActivateBackward<'a> {
    function: Activation,
    d_out: &'a [f32],
    x: &'a [f32],
    d_x: &'a mut [f32],
}

impl Kernel for ActivateBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.function.select::<S>(self);
    }
}

impl<S: Simd> WithFunction<S> for ActivateBackward<'_> {
    #[inline(always)]
    fn run<F: Function>(self) {
        let inputs = self.d_out.chunks(S::LANES).zip(self.x.chunks(S::LANES));
        for ((d_out, x), d_x) in inputs.zip(self.d_x.chunks_mut(S::LANES)) {
            let (_, slope) = F::value_and_slope::<S>(load_up_to::<S>(x));
            store_up_to::<S>(S::mul(load_up_to::<S>(d_out), slope), d_x);
        }
    }
}

struct Gated<'a> {
    gate: Gate,
    width: usize,
    x: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Gated<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.gate.select::<S>(self);
    }
}

impl<S: Simd> WithFunction<S> for Gated<'_> {
    #[inline(always)]
    fn run<F: Function>(self) {
        let width = self.width.max(1);
        for (x, out) in self.x.chunks(2 * width).zip(self.out.chunks_mut(width)) {
            let (gate, up) = x.split_at(width);
            let inputs = gate.chunks(S::LANES).zip(up.chunks(S::LANES));
            for ((gate, up), out) in inputs.zip(out.chunks_mut(S::LANES)) {
                let value = F::value::<S>(load_up_to::<S>(gate));
                store_up_to::<S>(S::mul(value, load_up_to::<S>(up)), out);
            }
        }
    }
}

struct GatedBackward<'a> {
    gate: Gate,
    width: usize,
    d_out: &'a [f32],
    x: &'a [f32],
    d_x: &'a mut [f32],
}

impl Kernel for GatedBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.gate.select::<S>(self);
    }
}

impl<S: Simd> WithFunction<S> for GatedBackward<'_> {
    #[inline(always)]
    fn run<F: Function>(self) {
        let width = self.width.max(1);
        let rows = self.d_out.chunks(width).zip(self.x.chunks(2 * width));
        for ((d_out, x), d_x) in rows.zip(self.d_x.chunks_mut(2 * width)) {
            let (gate, up) = x.split_at(width);
            let (d_gate, d_up) = d_x.split_at_mut(width);
            let inputs = d_out.chunks(S::LANES).zip(gate.chunks(S::LANES).zip(up.chunks(S::LANES)));
            let outputs = d_gate.chunks_mut(S::LANES).zip(d_up.chunks_mut(S::LANES));
            for ((d_out, (gate, up)), (d_gate, d_up)) in inputs.zip(outputs) {
                let (value, slope) = F::value_and_slope::<S>(load_up_to::<S>(gate));
                let d_out = load_up_to::<S>(d_out);
                store_up_to::<S>(S::mul(S::mul(d_out, load_up_to::<S>(up)), slope), d_gate);
                store_up_to::<S>(S::mul(d_out, value), d_up);
            }
        }
    }
}
