use crate::ops::activation::{Function, WithFunction};
use crate::ops::dropout::Mask;
use crate::ops::{Activation, Dropout};
use crate::parallel::SharedRows;
use crate::product::{Operand, Product, product, product_with_packed};
use crate::simd::{Kernel, Simd, dispatch, load_up_to, prefetch_numbers, store_up_to};
use crate::{Precision, View, ViewMut, Weight};
use std::ops::Range;

pub use backward::{InputGradient, Store, WeightGradient, linear_backward};

mod backward;

/// What [`linear`] does to each row block of the product while it is in cache, in this order.
#[derive(Default)]
pub struct Epilogue<'a> {
    /// Added to every row, `1 x N`.
    pub bias: Option<View<'a>>,
    /// Where to keep the sum before the activation, `T x N`, for the backward pass.
    pub pre_activation: Option<ViewMut<'a>>,
    /// Applied to the sum.
    pub activation: Option<Activation>,
    /// Applied after the activation.
    pub dropout: Option<Dropout>,
    /// Added last, `T x N`.
    pub residual: Option<View<'a>>,
}

/// `out = dropout(activation(x weightᵀ + bias)) + residual`.
///
/// Each row of `out` has the same bits whatever the other rows are, and whether the weight is a
/// matrix or packed.
///
/// # Shapes
/// `x`: `T x K`; `weight`: `N x K`, as PyTorch's `Linear` stores it; `out`: `T x N`.
///
/// # Panics
/// When the shapes differ from these, or the weight was packed for another precision or device.
pub fn linear<'a>(
    x: View<'_>,
    weight: impl Into<Weight<'a>>,
    precision: Precision,
    epilogue: Epilogue<'_>,
    out: ViewMut<'_>,
) {
    let weight = weight.into();
    let (rows, depth, columns) = (x.rows, x.columns, weight.rows());
    let inputs = weight.columns();
    assert!(inputs == depth, "weight is {columns} x {inputs}, expected {columns} x {depth}");
    if let Weight::Packed(packed) = weight {
        assert_eq!(packed.precision(), precision, "precision of a packed weight and its product");
        // Panels are as wide as the instruction set's vectors.
        let alike = packed.device().isa() == x.device.isa();
        assert!(alike, "{packed:?} for a product on {:?}", x.device);
    }
    out.expect_shape("out", rows, columns);
    if let Some(bias) = &epilogue.bias {
        bias.expect_shape("bias", 1, columns);
    }
    if let Some(residual) = &epilogue.residual {
        residual.expect_shape("residual", rows, columns);
    }
    if let Some(pre_activation) = &epilogue.pre_activation {
        pre_activation.expect_shape("pre_activation", rows, columns);
    }
    let isa = x.device.cpu_isa();
    let Epilogue { bias, pre_activation, activation, dropout, residual } = epilogue;
    let pre_activation = pre_activation.map(SharedRows::new);
    let out = SharedRows::new(out);
    let mask = dropout.map(|dropout| dropout.mask());
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
        dispatch(isa, finish);
    };
    let left = Operand { data: x.data, row_stride: depth, depth_stride: 1 };
    match weight {
        Weight::View(weight) => {
            let right = Operand { data: weight.data, row_stride: depth, depth_stride: 1 };
            let operands = Product { precision, depth, left, right, accumulate: false };
            product(x.device, &operands, &out, &finish);
        }
        Weight::Packed(weight) => {
            product_with_packed(x.device, left, weight.panels(), &out, &finish);
        }
    }
}

/// The epilogue of one tile.
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
            // SAFETY: tiles are disjoint, and this is the only segment of this tile.
            let out = unsafe { self.out.part(row, self.tile.clone()) };
            let first = row * self.columns + self.tile.start;
            let bias = self.bias.map(|bias| &bias[self.tile.clone()]);
            let residual = self.residual.map(|residual| &residual[first..first + out.len()]);
            let pre_activation = self.pre_activation.map(|pre_activation| {
                // SAFETY: as above.
                unsafe { pre_activation.part(row, self.tile.clone()) }
            });
            let coming = first + self.rows.len() * self.columns;
            if let Some(residual) = self.residual {
                prefetch_numbers::<S>(residual.as_ptr().wrapping_add(coming), out.len());
            }
            if let Some(target) = self.pre_activation {
                prefetch_numbers::<S>(target.data.wrapping_add(coming), out.len());
            }
            let mask = self.mask.as_mut().map(|mask| (mask, first as u64));
            let finish = FinishRow { out, bias, pre_activation, mask, residual };
            self.activation.unwrap_or(Activation::Identity).select::<S>(finish);
        }
    }
}

/// The epilogue of one row of a tile, in one pass.
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
