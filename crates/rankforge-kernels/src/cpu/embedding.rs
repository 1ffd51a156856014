use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::{INLINE_ELEMENTS, SharedRows, for_each, for_row_blocks};
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::isa::Supported;
use std::cell::RefCell;

pub(crate) fn gather(
    cpu: &Cpu,
    table: Matrix<'_>,
    ids: &[u32],
    accumulate: bool,
    out: MatrixMut<'_>,
) {
    let (rows, columns) = (out.rows, out.columns);
    for_row_blocks(cpu, rows, columns, out, |first, out| {
        let ids = &ids[first..first + out.rows];
        dispatch(cpu.isa(), Gather { table: table.data, ids, accumulate, columns, out: out.data });
    });
}

pub(crate) fn gather_backward(cpu: &Cpu, d_out: Matrix<'_>, ids: &[u32], d_table: MatrixMut<'_>) {
    add_rows(cpu, Terms { x: d_out, column: 0, pooled: None }, ids, d_table);
}

/// Adds the gradient of each token to the row of its id; `pooled` has the sequence and the weight
/// of each token, and `d_out` a row for each sequence, from `column` on.
pub(crate) fn pooled_backward(
    cpu: &Cpu,
    d_out: Matrix<'_>,
    column: usize,
    pooled: &[(u32, f32)],
    ids: &[u32],
    d_table: MatrixMut<'_>,
) {
    add_rows(cpu, Terms { x: d_out, column, pooled: Some(pooled) }, ids, d_table);
}

/// Sorts the tokens by id, then sums each run of equal ids.
fn add_rows(cpu: &Cpu, terms: Terms<'_>, ids: &[u32], d_table: MatrixMut<'_>) {
    thread_local! {
        static ORDER: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    // Taken, not borrowed: while this thread waits for others it may run another operation.
    let mut order = ORDER.take();
    order.clear();
    // The token in the lower half makes the keys distinct, and the sort stable.
    order.extend((0u64..).zip(ids).map(|(token, &id)| u64::from(id) << 32 | token));
    order.sort_unstable();
    let columns = d_table.columns;
    let d_table = &SharedRows::new(d_table);
    let runs = Runs { order: &order, isa: cpu.isa(), terms, columns, d_table };
    let (positions, strips) = (order.len().div_ceil(POSITIONS), columns.div_ceil(STRIP));
    for_each(cpu, ids.len() * columns >= INLINE_ELEMENTS, positions * strips, |item| {
        runs.reduce(item / strips * POSITIONS, item % strips * STRIP);
    });
    ORDER.set(order);
}

/// Sorted positions in a work item.
const POSITIONS: usize = 256;

/// Columns of a work item: with few ids, as of segments, every thread still gets some work.
const STRIP: usize = 128;

struct Gather<'a> {
    table: &'a [f32],
    ids: &'a [u32],
    accumulate: bool,
    columns: usize,
    out: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (out, &id) in self.out.chunks_exact_mut(self.columns.max(1)).zip(self.ids) {
            let row = &self.table[id as usize * self.columns..][..self.columns];
            if self.accumulate {
                add(row, out);
            } else {
                out.copy_from_slice(row);
            }
        }
    }
}

/// The row that each token adds: its own of `x`, or that of its sequence times its weight. It
/// begins at `column`.
#[derive(Clone, Copy)]
struct Terms<'a> {
    x: Matrix<'a>,
    column: usize,
    pooled: Option<&'a [(u32, f32)]>,
}

/// Runs of equal ids in sorted order, with the rows to sum.
struct Runs<'a> {
    order: &'a [u64],
    isa: Supported,
    terms: Terms<'a>,
    columns: usize,
    d_table: &'a SharedRows<'a>,
}

impl Runs<'_> {
    /// Reduces the runs that begin in `POSITIONS` positions from `start` on, in one strip of
    /// columns.
    fn reduce(&self, start: usize, column: usize) {
        let id = |position: usize| (self.order[position] >> 32) as usize;
        let columns = column..(column + STRIP).min(self.columns);
        let end = (start + POSITIONS).min(self.order.len());
        let mut position = start;
        while position < end {
            let row = id(position);
            let length = self.order[position..].partition_point(|&key| (key >> 32) as usize == row);
            if position == 0 || id(position - 1) != row {
                // SAFETY: only the item in which a run begins reduces it, and items of one run
                // write different columns.
                let target = unsafe { self.d_table.part(row, columns.clone()) };
                let tokens = &self.order[position..position + length];
                dispatch(self.isa, SumRows { tokens, terms: self.terms, column, target });
            }
            position += length;
        }
    }
}

struct SumRows<'a> {
    tokens: &'a [u64],
    terms: Terms<'a>,
    column: usize,
    target: &'a mut [f32],
}

impl Kernel for SumRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let Terms { x, column, pooled } = self.terms;
        for &key in self.tokens {
            let token = (key as u32) as usize;
            let row = pooled.map_or(token, |pooled| pooled[token].0 as usize);
            let start = row * x.columns + column + self.column;
            let source = &x.data[start..][..self.target.len()];
            match pooled {
                None => add(source, self.target),
                Some(pooled) => add_weighted(source, pooled[token].1, self.target),
            }
        }
    }
}

#[inline(always)]
fn add(source: &[f32], target: &mut [f32]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += source;
    }
}

/// The product is added to zero first, as where it is a row of its own: -0 becomes 0.
#[inline(always)]
fn add_weighted(source: &[f32], weight: f32, target: &mut [f32]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += weight * source + 0.0;
    }
}
