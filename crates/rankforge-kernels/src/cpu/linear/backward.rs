use crate::cpu::activation::{Function, WithFunction};
use crate::cpu::machine::Cpu;
use crate::cpu::matmul::{InputProduct, Operand, Product, gradients, product};
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::SharedRows;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, prefetch_elements, store_up_to};
use crate::precision::Precision;
use crate::settings::activation::Activation;
use crate::settings::linear::{InputGradientOf, StoreOf, WeightGradientOf};
use std::ops::Range;

pub(crate) fn linear_backward(
    cpu: &Cpu,
    d_out: Matrix<'_>,
    precision: Precision,
    input: Option<InputGradientOf<Matrix<'_>, MatrixMut<'_>>>,
    weight: Option<WeightGradientOf<Matrix<'_>, MatrixMut<'_>>>,
) {
    let Some(InputGradientOf { weight: matrix, store, d_x }) = input else {
        if let Some(weight) = weight {
            of_weight(cpu, d_out, precision, weight, None);
        }
        return;
    };
    let (outputs, inputs) = (d_out.columns, d_x.columns);
    let operands = Product {
        precision,
        depth: outputs,
        left: Operand { data: d_out.data, row_stride: outputs, depth_stride: 1 },
        right: Operand { data: matrix.data, row_stride: 1, depth_stride: inputs },
        accumulate: matches!(store, StoreOf::Add),
    };
    let d_x = SharedRows::new(d_x);
    let finish = |rows: Range<usize>, tile: Range<usize>| {
        if let StoreOf::Slopes(function, before) = store {
            let before = before.data;
            dispatch(cpu.isa(), Slopes { function, before, d_x: &d_x, rows, tile });
        }
    };
    match weight {
        None => product(cpu, &operands, &d_x, &finish),
        Some(weight) => {
            let input = InputProduct { product: operands, out: &d_x, finish: &finish };
            of_weight(cpu, d_out, precision, weight, Some(input));
        }
    }
}

/// Computes the gradients of the parameters, and that of the input when there is a place for it.
fn of_weight(
    cpu: &Cpu,
    d_out: Matrix<'_>,
    precision: Precision,
    weight: WeightGradientOf<Matrix<'_>, MatrixMut<'_>>,
    input: Option<InputProduct<'_>>,
) {
    let WeightGradientOf { x, d_weight, d_bias } = weight;
    let (tokens, outputs, inputs) = (d_out.rows, d_out.columns, x.columns);
    let operands = Product {
        precision,
        depth: tokens,
        left: Operand { data: d_out.data, row_stride: 1, depth_stride: outputs },
        right: Operand { data: x.data, row_stride: 1, depth_stride: inputs },
        accumulate: true,
    };
    let (d_weight, d_bias) = (SharedRows::new(d_weight), d_bias.map(SharedRows::new));
    gradients(cpu, &operands, &d_weight, d_bias.as_ref(), input);
}

/// Multiplies a tile of the gradient of an activation by the slopes.
struct Slopes<'a> {
    function: Activation,
    /// The input of the activation.
    before: &'a [f32],
    d_x: &'a SharedRows<'a>,
    rows: Range<usize>,
    tile: Range<usize>,
}

impl Kernel for Slopes<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for row in self.rows.clone() {
            // SAFETY: tiles are disjoint, and this is the only part of `d_x` of this tile.
            let d_x = unsafe { self.d_x.part(row, self.tile.clone()) };
            let first = row * self.d_x.columns + self.tile.start;
            let before = &self.before[first..first + d_x.len()];
            let coming = first + self.rows.len() * self.d_x.columns;
            prefetch_elements::<S>(self.before.as_ptr().wrapping_add(coming), d_x.len());
            self.function.select::<S>(SlopesOfRow { before, d_x });
        }
    }
}

struct SlopesOfRow<'a> {
    before: &'a [f32],
    d_x: &'a mut [f32],
}

impl<S: Simd> WithFunction<S> for SlopesOfRow<'_> {
    #[inline(always)]
    fn run<F: Function>(self) {
        for (before, d_x) in self.before.chunks(S::LANES).zip(self.d_x.chunks_mut(S::LANES)) {
            let (_, slope) = F::value_and_slope::<S>(load_up_to::<S>(before));
            store_up_to::<S>(S::mul(load_up_to::<S>(d_x), slope), d_x);
        }
    }
}
