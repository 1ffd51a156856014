//! Small matrix products on tiles that stay in cache: the arithmetic of attention and of searches.
//!
//! They are too small for the packing and planning of the large ones, and their operands are packed
//! once for many products.

use crate::cpu::matmul::block::{Block, Combine, most_rows};
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::isa::Supported;
use std::marker::PhantomData;

/// Columns of a packed panel; rows of panels and of score tiles are padded to multiples of half as
/// many.
pub(crate) const PANEL: usize = 32;

/// `length` rounded up to whole vectors of every instruction set.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(16)
}

/// The left factor: element `(row, inner)` is at `row * row_stride + inner * inner_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    data: &'a [f32],
    row_stride: usize,
    inner_stride: usize,
}

impl<'a> Left<'a> {
    /// A row-major matrix with `stride` elements from one row to the next.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Left<'a> {
        Left { data, row_stride: stride, inner_stride: 1 }
    }

    /// The transpose of a row-major matrix with `stride` elements from one row to the next.
    pub(crate) fn transposed(data: &'a [f32], stride: usize) -> Left<'a> {
        Left { data, row_stride: 1, inner_stride: stride }
    }
}

/// The right factor, in blocks of [`PANEL`] columns.
#[derive(Clone, Copy)]
pub(crate) struct Right<'a> {
    data: &'a [f32],
    inner_stride: usize,
    panel_stride: usize,
}

impl<'a> Right<'a> {
    /// A row-major matrix with `stride` elements from one row to the next.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Right<'a> {
        Right { data, inner_stride: stride, panel_stride: PANEL }
    }

    /// Panels of `inner` rows, as [`transpose_to_panels`] leaves them.
    pub(crate) fn panels(data: &'a [f32], inner: usize) -> Right<'a> {
        Right { data, inner_stride: PANEL, panel_stride: PANEL * inner }
    }
}

/// The product: rows `stride` apart, which are written or added to.
pub(crate) struct Out<'a> {
    pub(crate) data: &'a mut [f32],
    pub(crate) stride: usize,
    /// Whether the product is added to what `data` holds, rather than stored in its place.
    pub(crate) accumulate: bool,
}

impl<'a> Out<'a> {
    /// `out = left right`.
    pub(crate) fn write(data: &'a mut [f32], stride: usize) -> Out<'a> {
        Out { data, stride, accumulate: false }
    }

    /// `out += left right`.
    pub(crate) fn add(data: &'a mut [f32], stride: usize) -> Out<'a> {
        Out { data, stride, accumulate: true }
    }
}

/// Rows, columns and depth of a product; `columns` is a multiple of 16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) inner: usize,
}

/// `out = left right`, or `out += left right`.
///
/// Each element is summed in the order of the inner index, so its bits do not depend on the tiling.
pub(crate) fn small_product<C: Combine>(
    isa: Supported,
    shape: Shape,
    left: Left<'_>,
    right: Right<'_>,
    out: Out<'_>,
) {
    let combine = PhantomData::<C>;
    let Out { data: out, stride, accumulate } = out;
    dispatch(isa, SmallProduct { shape, left, right, accumulate, out, stride, combine });
}

/// Writes the transpose of a matrix as panels: [`PANEL`] of its rows become the columns of a panel.
///
/// `source` has rows of `inner` elements, `stride` apart; `target` gets `inner * PANEL` elements
/// for each [`PANEL`] rows; the columns of the last panel are zero up to the next multiple of 16.
pub(crate) fn transpose_to_panels(
    isa: Supported,
    source: &[f32],
    rows: usize,
    inner: usize,
    stride: usize,
    target: &mut [f32],
) {
    dispatch(isa, TransposeToPanels { source, rows, inner, stride, target });
}

struct SmallProduct<'a, C> {
    shape: Shape,
    left: Left<'a>,
    right: Right<'a>,
    accumulate: bool,
    out: &'a mut [f32],
    stride: usize,
    combine: PhantomData<C>,
}

impl<C> SmallProduct<'_, C> {
    fn check(&self) {
        let SmallProduct { shape, left, right, .. } = self;
        let Shape { rows, columns, inner } = *shape;
        assert_eq!(columns % 16, 0, "product of {shape:?}: columns in whole vectors");
        let left_end = (rows - 1) * left.row_stride + (inner - 1) * left.inner_stride;
        let panel = (columns - 1) / PANEL * right.panel_stride;
        let right_end = panel + (inner - 1) * right.inner_stride + (columns - 1) % PANEL;
        let out_end = (rows - 1) * self.stride + columns - 1;
        assert!(
            left_end < left.data.len() && right_end < right.data.len() && out_end < self.out.len(),
            "product of {shape:?} on {}, {} and {} numbers",
            left.data.len(),
            right.data.len(),
            self.out.len()
        );
    }
}

impl<C: Combine> Kernel for SmallProduct<'_, C> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Shape { rows, columns, inner } = self.shape;
        if rows == 0 || columns == 0 || (inner == 0 && self.accumulate) {
            return;
        }
        if inner == 0 {
            self.out.chunks_mut(self.stride).take(rows).for_each(|row| row[..columns].fill(0.0));
            return;
        }
        self.check();
        let (most, width) = (most_rows(S::LANES), 2 * S::LANES);
        for column in (0..columns).step_by(width) {
            let right = column / PANEL * self.right.panel_stride + column % PANEL;
            let mut row = 0;
            while row < rows {
                // Blocks of nearly equal height: a block of one row would wait for each addition.
                let height = (rows - row).div_ceil((rows - row).div_ceil(most));
                // SAFETY: `check` asserted that the last index of each operand is inside its slice,
                // and the block is within the shape.
                unsafe {
                    let block = Block {
                        left: self.left.data.as_ptr().add(row * self.left.row_stride),
                        row_stride: self.left.row_stride,
                        word_stride: self.left.inner_stride,
                        right: self.right.data.as_ptr().add(right),
                        right_stride: self.right.inner_stride,
                        out: self.out.as_mut_ptr().add(row * self.stride + column),
                        out_stride: self.stride,
                        words: inner,
                        columns: (columns - column).min(width),
                        accumulate: self.accumulate,
                        ahead: std::ptr::null(),
                    };
                    block.of_height::<S, C>(height);
                }
                row += height;
            }
        }
    }
}

struct TransposeToPanels<'a> {
    source: &'a [f32],
    rows: usize,
    inner: usize,
    stride: usize,
    target: &'a mut [f32],
}

impl Kernel for TransposeToPanels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let TransposeToPanels { source, rows, inner, stride, target } = self;
        if inner == 0 {
            return;
        }
        for (first, panel) in (0..rows).step_by(PANEL).zip(target.chunks_exact_mut(inner * PANEL)) {
            let count = (rows - first).min(PANEL);
            let source = &source[first * stride..];
            let whole = inner / S::LANES * S::LANES;
            // Rows beyond the last are zero, as products run over whole vectors of columns.
            let zeros = [0.0; 16];
            for group in (0..padded(count)).step_by(S::LANES) {
                for at in (0..whole).step_by(S::LANES) {
                    S::transpose(
                        #[inline(always)]
                        |lane| match group + lane {
                            row if row < count => &source[row * stride + at..],
                            _ => &zeros[..],
                        },
                        &mut panel[at * PANEL + group..],
                        PANEL,
                    );
                }
            }
            for (at, line) in panel.chunks_exact_mut(PANEL).enumerate().skip(whole) {
                line[count..padded(count)].fill(0.0);
                for (row, number) in line[..count].iter_mut().enumerate() {
                    *number = source[row * stride + at];
                }
            }
        }
    }
}
