use crate::ops::Activation;
use crate::ops::activation::{Function, WithFunction};
use crate::parallel::SharedRows;
use crate::product::{InputProduct, Operand, Product, gradients, product};
use crate::simd::{Kernel, Simd, dispatch, load_up_to, prefetch_numbers, store_up_to};
use crate::{Precision, View, ViewMut};
use std::ops::Range;

/// The gradient of the input of a linear layer, from `d_out weight`.
pub struct InputGradient<'a> {
    /// `N x K`.
    pub weight: View<'a>,
    /// What becomes of the product.
    pub store: Store<'a>,
    /// `T x K`.
    pub d_x: ViewMut<'a>,
}

/// What becomes of the product that is the gradient of an input.
#[derive(Clone, Copy)]
pub enum Store<'a> {
    /// It is written.
    Write,
    /// It is added to what is there.
    Add,
    /// It is written times the slopes of the function that gave the input, at that function's own input, `T x K`:
    /// the gradient of the latter.
    Slopes(Activation, View<'a>),
}

/// The gradients of the parameters: `d_weight += d_outᵀ x` and `d_bias += column sums of d_out`.
pub struct WeightGradient<'a> {
    /// `T x K`.
    pub x: View<'a>,
    /// `N x K`.
    pub d_weight: ViewMut<'a>,
    /// `1 x N`.
    pub d_bias: Option<ViewMut<'a>>,
}

/// Backward of [`super::linear`], given `d_out`, `T x N`; both gradients together read it once.
///
/// Each number has the same bits whether one gradient is asked for or both.
///
/// # Panics
/// When the shapes differ from those of the gradients asked for.
pub fn linear_backward(
    d_out: View<'_>,
    precision: Precision,
    input: Option<InputGradient<'_>>,
    weight: Option<WeightGradient<'_>>,
) {
    let Some(InputGradient { weight: matrix, store, d_x }) = input else {
        if let Some(weight) = weight {
            of_weight(d_out, precision, weight, None);
        }
        return;
    };
    let (device, tokens, outputs, inputs) = (d_out.device, d_out.rows, d_out.columns, d_x.columns);
    matrix.expect_shape("weight", outputs, inputs);
    d_x.expect_shape("d_x", tokens, inputs);
    if let Store::Slopes(_, before) = store {
        before.expect_shape("the input of the activation", tokens, inputs);
    }
    let operands = Product {
        precision,
        depth: outputs,
        left: Operand { data: d_out.data, row_stride: outputs, depth_stride: 1 },
        right: Operand { data: matrix.data, row_stride: 1, depth_stride: inputs },
        accumulate: matches!(store, Store::Add),
    };
    let d_x = SharedRows::new(d_x);
    let finish = |rows: Range<usize>, tile: Range<usize>| {
        if let Store::Slopes(function, before) = store {
            dispatch(
                device.cpu_isa(),
                Slopes { function, before: before.data, d_x: &d_x, rows, tile },
            );
        }
    };
    match weight {
        None => product(device, &operands, &d_x, &finish),
        Some(weight) => {
            let input = InputProduct { product: operands, out: &d_x, finish: &finish };
            of_weight(d_out, precision, weight, Some(input));
        }
    }
}

/// The gradients of the parameters, and that of the input when it is asked for.
fn of_weight(
    d_out: View<'_>,
    precision: Precision,
    weight: WeightGradient<'_>,
    input: Option<InputProduct<'_>>,
) {
    let WeightGradient { x, d_weight, d_bias } = weight;
    let (tokens, outputs, inputs) = (d_out.rows, d_out.columns, x.columns);
    x.expect_shape("x", tokens, inputs);
    d_weight.expect_shape("d_weight", outputs, inputs);
    if let Some(d_bias) = &d_bias {
        d_bias.expect_shape("d_bias", 1, outputs);
    }
    let operands = Product {
        precision,
        depth: tokens,
        left: Operand { data: d_out.data, row_stride: 1, depth_stride: outputs },
        right: Operand { data: x.data, row_stride: 1, depth_stride: inputs },
        accumulate: true,
    };
    let (d_weight, d_bias) = (SharedRows::new(d_weight), d_bias.map(SharedRows::new));
    gradients(d_out.device, &operands, &d_weight, d_bias.as_ref(), input);
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
            // SAFETY: tiles are disjoint, and this is the only segment of this tile.
            let d_x = unsafe { self.d_x.part(row, self.tile.clone()) };
            let first = row * self.d_x.columns + self.tile.start;
            let before = &self.before[first..first + d_x.len()];
            let coming = first + self.rows.len() * self.d_x.columns;
            prefetch_numbers::<S>(self.before.as_ptr().wrapping_add(coming), d_x.len());
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
