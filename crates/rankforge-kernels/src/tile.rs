//! Small matrix products on tiles that stay in cache: the arithmetic of attention and of top-k.
//!
//! Big products go to the `gemm` crate; these are too small for its packing and planning, and their
//! operands are packed once for many products.

use crate::Isa;
use crate::simd::{Kernel, Simd, dispatch};
use std::marker::PhantomData;

/// Columns of a packed panel; rows of panels and of score tiles are padded to multiples of half of it.
pub(crate) const PANEL: usize = 32;

/// `length` rounded up to whole vectors of every instruction set.
pub(crate) fn padded(length: usize) -> usize {
    length.next_multiple_of(16)
}

/// What a product does with each pair of factors.
pub(crate) trait Combine {
    /// `sum` with the pair `a`, `b` added.
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V;
}

/// Sums of `a * b`: the matrix product.
pub(crate) struct Multiply;

/// Sums of `(a - b)^2`.
pub(crate) struct SquaredDifference;

/// Sums of `|a - b|`.
pub(crate) struct AbsoluteDifference;

impl Combine for Multiply {
    #[inline(always)]
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        S::mul_add(a, b, sum)
    }
}

impl Combine for SquaredDifference {
    #[inline(always)]
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        let difference = S::sub(a, b);
        S::mul_add(difference, difference, sum)
    }
}

impl Combine for AbsoluteDifference {
    #[inline(always)]
    fn add<S: Simd>(a: S::V, b: S::V, sum: S::V) -> S::V {
        S::add(sum, S::abs(S::sub(a, b)))
    }
}

/// The left factor: number `(row, inner)` lies at `row * row_stride + inner * inner_stride`.
#[derive(Clone, Copy)]
pub(crate) struct Left<'a> {
    data: &'a [f32],
    row_stride: usize,
    inner_stride: usize,
}

impl<'a> Left<'a> {
    /// A row-major matrix with `stride` numbers from one row to the next.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Left<'a> {
        Left { data, row_stride: stride, inner_stride: 1 }
    }

    /// The transpose of a row-major matrix with `stride` numbers from one row to the next.
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
    /// A row-major matrix with `stride` numbers from one row to the next.
    pub(crate) fn rows(data: &'a [f32], stride: usize) -> Right<'a> {
        Right { data, inner_stride: stride, panel_stride: PANEL }
    }

    /// Panels of `inner` rows, as [`pack_panels`] leaves them.
    pub(crate) fn panels(data: &'a [f32], inner: usize) -> Right<'a> {
        Right { data, inner_stride: PANEL, panel_stride: PANEL * inner }
    }
}

/// Rows, columns and summed numbers of a product; `columns` is a multiple of 16.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) inner: usize,
}

/// `out = left right`, or `out += left right` when `accumulate`, with rows of `out` `stride` apart.
///
/// Each number is summed in the order of the inner index, so its bits do not depend on the tiling.
pub(crate) fn product<C: Combine>(
    isa: Isa,
    shape: Shape,
    left: Left<'_>,
    right: Right<'_>,
    accumulate: bool,
    out: &mut [f32],
    stride: usize,
) {
    let combine = PhantomData::<C>;
    dispatch(isa, Product { shape, left, right, accumulate, out, stride, combine });
}

/// Writes the transpose of a matrix as panels: [`PANEL`] of its rows become the columns of a panel.
///
/// `source` has rows of `inner` numbers, `stride` apart; `target` gets `inner * PANEL` numbers for
/// each [`PANEL`] rows; the columns of the last panel are zero up to the next multiple of 16.
pub(crate) fn pack_panels(
    isa: Isa,
    source: &[f32],
    rows: usize,
    inner: usize,
    stride: usize,
    target: &mut [f32],
) {
    dispatch(isa, PackPanels { source, rows, inner, stride, target });
}

struct Product<'a, C> {
    shape: Shape,
    left: Left<'a>,
    right: Right<'a>,
    accumulate: bool,
    out: &'a mut [f32],
    stride: usize,
    combine: PhantomData<C>,
}

impl<C> Product<'_, C> {
    fn check(&self) {
        let Product { shape, left, right, .. } = self;
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

impl<C: Combine> Kernel for Product<'_, C> {
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
        // As many rows as leave registers for two vectors of the right factor: 16 accumulators of
        // 32 registers with AVX-512, 12 of 16 with AVX2.
        let most = if S::LANES == 16 { 8 } else { 6 };
        let width = 2 * S::LANES;
        for column in (0..columns).step_by(width) {
            let right = column / PANEL * self.right.panel_stride + column % PANEL;
            let mut row = 0;
            while row < rows {
                // Blocks of nearly equal height: a last block of one row would wait for its adds.
                let height = (rows - row).div_ceil((rows - row).div_ceil(most));
                // SAFETY: `check` has seen the last index of each operand, and the block lies inside.
                unsafe {
                    let block = Block {
                        left: self.left.data.as_ptr().add(row * self.left.row_stride),
                        row_stride: self.left.row_stride,
                        inner_stride: self.left.inner_stride,
                        right: self.right.data.as_ptr().add(right),
                        right_stride: self.right.inner_stride,
                        out: self.out.as_mut_ptr().add(row * self.stride + column),
                        out_stride: self.stride,
                        inner,
                        accumulate: self.accumulate,
                    };
                    if columns - column >= width {
                        block.of_height::<S, C, 2>(height);
                    } else {
                        block.of_height::<S, C, 1>(height);
                    }
                }
                row += height;
            }
        }
    }
}

/// One block of the output that is summed in registers.
struct Block {
    left: *const f32,
    row_stride: usize,
    inner_stride: usize,
    right: *const f32,
    right_stride: usize,
    out: *mut f32,
    out_stride: usize,
    inner: usize,
    accumulate: bool,
}

impl Block {
    /// # Safety
    /// The pointers must reach `height` rows, `VECTORS` vectors of columns and `inner` sums.
    #[inline(always)]
    unsafe fn of_height<S: Simd, C: Combine, const VECTORS: usize>(self, height: usize) {
        // SAFETY: as promised by the caller.
        unsafe {
            match height {
                1 => self.sum::<S, C, 1, VECTORS>(),
                2 => self.sum::<S, C, 2, VECTORS>(),
                3 => self.sum::<S, C, 3, VECTORS>(),
                4 => self.sum::<S, C, 4, VECTORS>(),
                5 => self.sum::<S, C, 5, VECTORS>(),
                6 => self.sum::<S, C, 6, VECTORS>(),
                7 => self.sum::<S, C, 7, VECTORS>(),
                8 => self.sum::<S, C, 8, VECTORS>(),
                _ => unreachable!("a block of {height} rows"),
            }
        }
    }

    /// # Safety
    /// As for [`Block::of_height`] with `ROWS` rows.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "with iterators the compiler keeps the last sum in memory, at half the speed"
    )]
    unsafe fn sum<S: Simd, C: Combine, const ROWS: usize, const VECTORS: usize>(self) {
        let mut sums = [[S::splat(0.0); VECTORS]; ROWS];
        // SAFETY: every address is inside the block the caller promised.
        unsafe {
            if self.accumulate {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (vector, sum) in sums.iter_mut().enumerate() {
                        *sum = load::<S>(self.out.add(row * self.out_stride + vector * S::LANES));
                    }
                }
            }
            let (mut left, mut right) = (self.left, self.right);
            for _ in 0..self.inner {
                let mut factors = [S::splat(0.0); VECTORS];
                for (vector, factor) in factors.iter_mut().enumerate() {
                    *factor = load::<S>(right.add(vector * S::LANES));
                }
                for row in 0..ROWS {
                    let a = S::splat(*left.add(row * self.row_stride));
                    for vector in 0..VECTORS {
                        sums[row][vector] = C::add::<S>(a, factors[vector], sums[row][vector]);
                    }
                }
                left = left.wrapping_add(self.inner_stride);
                right = right.wrapping_add(self.right_stride);
            }
            for (row, sums) in sums.iter().enumerate() {
                for (vector, &sum) in sums.iter().enumerate() {
                    let out = self.out.add(row * self.out_stride + vector * S::LANES);
                    S::store(sum, std::slice::from_raw_parts_mut(out, S::LANES));
                }
            }
        }
    }
}

/// # Safety
/// `S::LANES` numbers must be readable at `source`.
#[inline(always)]
unsafe fn load<S: Simd>(source: *const f32) -> S::V {
    // SAFETY: as promised by the caller.
    S::load(unsafe { std::slice::from_raw_parts(source, S::LANES) })
}

struct PackPanels<'a> {
    source: &'a [f32],
    rows: usize,
    inner: usize,
    stride: usize,
    target: &'a mut [f32],
}

impl Kernel for PackPanels<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let PackPanels { source, rows, inner, stride, target } = self;
        if inner == 0 {
            return;
        }
        for (first, panel) in (0..rows).step_by(PANEL).zip(target.chunks_exact_mut(inner * PANEL)) {
            let count = (rows - first).min(PANEL);
            let source = &source[first * stride..];
            let whole = inner / S::LANES * S::LANES;
            // Rows beyond the last are zeros: products run over whole vectors of columns.
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

/// A line of memory that no vector load straddles.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

/// Memory of one thread that only grows, aligned for vectors.
pub(crate) struct Scratch(Vec<Line>);

impl Scratch {
    /// An empty one.
    pub(crate) const fn new() -> Scratch {
        Scratch(Vec::new())
    }

    /// Separate slices of these lengths, each aligned; they hold what earlier uses left.
    pub(crate) fn split<const N: usize>(&mut self, lengths: [usize; N]) -> [&mut [f32]; N] {
        let total: usize = lengths.iter().map(|length| length.div_ceil(LINE)).sum();
        if self.0.len() < total {
            self.0.resize(total, Line([0.0; LINE]));
        }
        let mut rest = self.0.as_mut_slice();
        lengths.map(|length| {
            let (lines, tail) = std::mem::take(&mut rest).split_at_mut(length.div_ceil(LINE));
            rest = tail;
            // SAFETY: a `Line` is 16 `f32` without padding, and there are enough of them.
            unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), length) }
        })
    }
}
