use crate::cpu::activation::{Function, WithFunction};
use crate::cpu::dropout::Mask;
use crate::cpu::machine::Cpu;
use crate::cpu::matmul::{Operand, PanelRows, Product, product, product_with_packed};
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::SharedRows;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, prefetch_elements, store_up_to};
use crate::precision::Precision;
use crate::settings::activation::Activation;
use crate::settings::linear::{EpilogueOf, WeightOf};
use std::ops::Range;

pub(crate) use backward::linear_backward;

mod backward;

pub(crate) fn linear(
    cpu: &Cpu,
    x: Matrix<'_>,
    weight: WeightOf<Matrix<'_>, PanelRows<'_>>,
    precision: Precision,
    epilogue: EpilogueOf<Matrix<'_>, MatrixMut<'_>>,
    out: MatrixMut<'_>,
) {
    let (depth, columns) = (x.columns, out.columns);
    let EpilogueOf { accumulate, bias, pre_activation, activation, dropout, residual } = epilogue;
    let pre_activation = pre_activation.map(SharedRows::new);
    let out = SharedRows::new(out);
    let mask = dropout.map(Mask::of);
    let finish = |rows: Range<usize>, tile: Range<usize>| {
        let (pre_activation, out) = (pre_activation.as_ref(), &out);
        let bias = bias.map(|bias| bias.data);
        let residual = residual.map(|residual| residual.data);
        let finish = FinishTile {
            rows,
            tile,
            columns,
            bias,
            pre_activation,
            activation,
            mask,
            residual,
            out,
        };
        dispatch(cpu.isa(), finish);
    };
    let left = Operand { data: x.data, row_stride: depth, depth_stride: 1 };
    match weight {
        WeightOf::Matrix(weight) => {
            let right = Operand { data: weight.data, row_stride: depth, depth_stride: 1 };
            let operands = Product { precision, depth, left, right, accumulate };
            product(cpu, &operands, &out, &finish);
        }
        WeightOf::Packed(weight) => {
            product_with_packed(cpu, left, &weight, accumulate, &out, &finish);
        }
    }
}

/// Runs the epilogue of one tile.
struct FinishTile<'a> {
    rows: Range<usize>,
    tile: Range<usize>,
    /// Columns of the whole matrix.
    columns: usize,
    bias: Option<&'a [f32]>,
    pre_activation: Option<&'a SharedRows<'a>>,
    activation: Option<Activation>,
    mask: Option<Mask>,
    residual: Option<&'a [f32]>,
    out: &'a SharedRows<'a>,
}

impl Kernel for FinishTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        for row in self.rows.clone() {
            // SAFETY: tiles are disjoint, and this is the only part of `out` of this tile.
            let out = unsafe { self.out.part(row, self.tile.clone()) };
            let first = row * self.columns + self.tile.start;
            let bias = self.bias.map(|bias| &bias[self.tile.clone()]);
            let residual = self.residual.map(|residual| &residual[first..first + out.len()]);
            let pre_activation = self.pre_activation.map(|pre_activation| {
                // SAFETY: tiles are disjoint, and this is the only part of `pre_activation` of this
                // tile.
                unsafe { pre_activation.part(row, self.tile.clone()) }
            });
            let coming = first + self.rows.len() * self.columns;
            if let Some(residual) = self.residual {
                prefetch_elements::<S>(residual.as_ptr().wrapping_add(coming), out.len());
            }
            if let Some(target) = self.pre_activation {
                prefetch_elements::<S>(target.data.wrapping_add(coming), out.len());
            }
            let mask = self.mask.as_mut().map(|mask| (mask, first as u64));
            let finish = FinishRow { out, bias, pre_activation, mask, residual };
            self.activation.unwrap_or(Activation::Identity).select::<S>(finish);
        }
    }
}

/// Runs the epilogue of one row of a tile, in one pass.
struct FinishRow<'a> {
    out: &'a mut [f32],
    bias: Option<&'a [f32]>,
    pre_activation: Option<&'a mut [f32]>,
    mask: Option<(&'a mut Mask, u64)>,
    residual: Option<&'a [f32]>,
}

impl<S: Simd> WithFunction<S> for FinishRow<'_> {
    #[inline(always)]
    fn run<F: Function>(mut self) {
        let length = self.out.len();
        for start in (0..length).step_by(S::LANES) {
            let part = start..(start + S::LANES).min(length);
            let mut x = load_up_to::<S>(&self.out[part.clone()]);
            if let Some(bias) = self.bias {
                x = S::add(x, load_up_to::<S>(&bias[part.clone()]));
            }
            if let Some(target) = &mut self.pre_activation {
                store_up_to::<S>(x, &mut target[part.clone()]);
            }
            x = F::value::<S>(x);
            if let Some((mask, first)) = &mut self.mask {
                x = S::mul(x, mask.factors::<S>(*first + start as u64));
            }
            if let Some(residual) = self.residual {
                x = S::add(x, load_up_to::<S>(&residual[part.clone()]));
            }
            store_up_to::<S>(x, &mut self.out[part]);
        }
    }
}
