//! Operands of the products of one head: rows of wide matrices packed into words, and sums written
//! back.

use crate::cpu::attention::parts::{Address, Part};
use crate::cpu::matmul::block::{Multiply, MultiplyPairs};
use crate::cpu::matmul::format::Format;
use crate::cpu::matmul::pack::rounded;
use crate::cpu::matmul::small::{
    Left, Out, PANEL, Right, Shape, padded, small_product, transpose_to_panels,
};
use crate::cpu::parallel::SharedRows;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, prefetch_elements, store_up_to};
use crate::isa::Supported;
use std::ops::Range;

/// Rows of a wide matrix: `dim` elements each, `stride` apart, to be multiplied by `factor`.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) data: &'a [f32],
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) dim: usize,
    pub(super) factor: f32,
}

impl<'a> Rows<'a> {
    #[inline(always)]
    fn row(&self, row: usize) -> &'a [f32] {
        &self.data[row * self.stride..][..self.dim]
    }

    fn from(self, first: usize) -> Rows<'a> {
        Rows { data: &self.data[first * self.stride..], rows: self.rows - first, ..self }
    }
}

/// The lengths of packed operands in words of a format.
#[derive(Clone, Copy)]
pub(super) struct Words {
    pub(super) isa: Supported,
    pub(super) format: Format,
    /// Head dimension.
    pub(super) dim: usize,
}

impl Words {
    /// Words of `numbers` neighbouring elements along the summed index.
    #[inline(always)]
    pub(super) fn count(self, numbers: usize) -> usize {
        numbers.div_ceil(self.format.per_word())
    }

    /// Words from one row to the next where a word holds neighbours of a row.
    pub(super) fn along_width(self) -> usize {
        padded(self.count(self.dim))
    }

    /// Words from one row to the next where a word holds neighbours of a column.
    pub(super) fn down_width(self) -> usize {
        padded(self.dim)
    }

    /// Words of the panels of `rows` rows.
    pub(super) fn panels(self, rows: usize) -> usize {
        rows.next_multiple_of(PANEL) * self.count(self.dim)
    }

    /// Words of `rows` rows with the words down the columns.
    pub(super) fn down(self, rows: usize) -> usize {
        self.count(rows) * self.down_width()
    }

    /// The panels from row `first` on, which begins a panel.
    pub(super) fn panels_from(self, panels: &[f32], first: usize) -> Right<'_> {
        let words = self.count(self.dim);
        Right::panels(&panels[first * words..], words)
    }

    /// The words down the columns from row `first` on, which begins a word.
    pub(super) fn down_from(self, rows: &[f32], first: usize) -> Right<'_> {
        Right::rows(&rows[self.count(first) * self.down_width()..], self.down_width())
    }

    /// Whether words down the columns differ from words along the rows.
    pub(super) fn paired(self) -> bool {
        self.format == Format::Bf16Pairs
    }

    /// Packs rows with the words along them, for a left factor.
    pub(super) fn pack_along(self, source: Rows<'_>, target: &mut [f32]) {
        dispatch(self.isa, PackAlong { format: self.format, source, target });
    }

    /// Packs rows with the words down the columns, for a right factor.
    pub(super) fn pack_down(self, source: Rows<'_>, target: &mut [f32]) {
        if self.paired() {
            dispatch(self.isa, PackDown { source, target });
        } else {
            self.pack_along(source, target);
        }
    }

    /// Packs the transpose of rows as panels, for a right factor; `rows` is room for [`PANEL`]
    /// rows.
    pub(super) fn pack_transposed(self, source: Rows<'_>, rows: &mut [f32], target: &mut [f32]) {
        let (words, width) = (self.count(self.dim), self.along_width());
        if self.format == Format::Exact {
            return transpose_to_panels(
                self.isa,
                source.data,
                source.rows,
                words,
                source.stride,
                target,
            );
        }
        let panels = target.chunks_exact_mut(words * PANEL);
        for (first, panel) in (0..source.rows).step_by(PANEL).zip(panels) {
            let part = source.from(first);
            let part = Rows { rows: part.rows.min(PANEL), ..part };
            self.pack_along(part, rows);
            transpose_to_panels(self.isa, rows, part.rows, words, width, panel);
        }
    }

    /// [`small_product`] of packed operands; `shape.inner` counts elements, not words.
    pub(super) fn multiply(self, shape: Shape, left: Left<'_>, right: Right<'_>, out: Out<'_>) {
        let shape = Shape { inner: self.count(shape.inner), ..shape };
        if self.paired() {
            small_product::<MultiplyPairs>(self.isa, shape, left, right, out);
        } else {
            small_product::<Multiply>(self.isa, shape, left, right, out);
        }
    }
}

/// The vector at `start` of `row`, zero beyond its end.
#[inline(always)]
pub(super) fn load_at<S: Simd>(row: &[f32], start: usize) -> S::V {
    load_up_to::<S>(row.get(start..).unwrap_or(&[]))
}

/// Writes rows of words along the rows, padded with zeros to whole vectors.
struct PackAlong<'a> {
    format: Format,
    source: Rows<'a>,
    target: &'a mut [f32],
}

impl Kernel for PackAlong<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let PackAlong { format, source, target } = self;
        let factor = S::splat(source.factor);
        let width = padded(source.dim.div_ceil(format.per_word()));
        for (row, target) in (0..source.rows).zip(target.chunks_exact_mut(width)) {
            let numbers = source.row(row);
            for (index, target) in target.chunks_exact_mut(S::LANES).enumerate() {
                let word = if S::BF16_PAIRS && format == Format::Bf16Pairs {
                    let start = 2 * index * S::LANES;
                    let low = S::mul(load_at::<S>(numbers, start), factor);
                    let high = S::mul(load_at::<S>(numbers, start + S::LANES), factor);
                    S::neighbour_pairs(low, high)
                } else {
                    let numbers = S::mul(load_at::<S>(numbers, index * S::LANES), factor);
                    rounded::<S>(format, numbers)
                };
                S::store(word, target);
            }
        }
    }
}

/// Writes pairs of neighbouring rows as one row, padded with zeros to whole vectors.
struct PackDown<'a> {
    source: Rows<'a>,
    target: &'a mut [f32],
}

impl Kernel for PackDown<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let PackDown { source, target } = self;
        let (factor, width) = (S::splat(source.factor), padded(source.dim));
        for (row, target) in (0..source.rows).step_by(2).zip(target.chunks_exact_mut(width)) {
            let first = source.row(row);
            let second = if row + 1 < source.rows { source.row(row + 1) } else { &[] };
            for start in (0..width).step_by(S::LANES) {
                let first = S::mul(load_at::<S>(first, start), factor);
                let second = S::mul(load_at::<S>(second, start), factor);
                S::store(S::pairs(first, second), &mut target[start..]);
            }
        }
    }
}

/// Writes the dot product of each row of `a` with that of `b`.
pub(super) fn dot_rows(isa: Supported, a: Rows<'_>, b: Rows<'_>, products: &mut [f32]) {
    dispatch(isa, DotRows { a, b, products });
}

struct DotRows<'a> {
    a: Rows<'a>,
    b: Rows<'a>,
    products: &'a mut [f32],
}

impl Kernel for DotRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (row, product) in self.products.iter_mut().enumerate().take(self.a.rows) {
            let (a, b) = (self.a.row(row), self.b.row(row));
            let mut sum = S::splat(0.0);
            for start in (0..a.len()).step_by(S::LANES) {
                sum = S::mul_add(load_at::<S>(a, start), load_at::<S>(b, start), sum);
            }
            *product = S::reduce_sum(sum);
        }
    }
}

/// Writes rows of sums to `columns` of `target` from row `first` on, row `i` times `factors[i]`.
///
/// # Safety
/// As for [`SharedRows::part`]: no other part with these columns of these rows may be alive.
pub(super) unsafe fn write_rows(
    isa: Supported,
    source: &[f32],
    factors: &[f32],
    target: &SharedRows<'_>,
    first: usize,
    columns: Range<usize>,
) {
    dispatch(isa, WriteRows { source, factors, target, first, columns });
}

struct WriteRows<'a, 'b> {
    source: &'a [f32],
    factors: &'a [f32],
    target: &'a SharedRows<'b>,
    first: usize,
    columns: Range<usize>,
}

impl Kernel for WriteRows<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = padded(self.columns.len());
        for (row, &factor) in self.factors.iter().enumerate() {
            // SAFETY: the caller of `write_rows` promised that no other part overlaps.
            let target = unsafe { self.target.part(self.first + row, self.columns.clone()) };
            let (source, factor) = (&self.source[row * width..][..width], S::splat(factor));
            for (source, target) in source.chunks_exact(S::LANES).zip(target.chunks_mut(S::LANES)) {
                store_up_to::<S>(S::mul(S::load(source), factor), target);
            }
        }
    }
}

/// Prefetches `dim` elements from column `column` of each part on, in some rows.
///
/// Rows are pages apart, where the hardware does not prefetch.
pub(super) fn prefetch_rows(
    isa: Supported,
    parts: &[Part<Address>],
    first: usize,
    rows: usize,
    column: usize,
    dim: usize,
) {
    dispatch(isa, Prefetch { parts, rows: first..first + rows, column, dim });
}

struct Prefetch<'a> {
    parts: &'a [Part<Address>],
    rows: Range<usize>,
    column: usize,
    dim: usize,
}

impl Kernel for Prefetch<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for row in self.rows {
            for &Part { matrix: Address(data, columns), start } in self.parts {
                let first = row * columns + start + self.column;
                prefetch_elements::<S>(data.wrapping_add(first), self.dim);
            }
        }
    }
}
