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

/// Sorts the tokens by id, then sums each run of equal ids.
pub(crate) fn gather_backward(cpu: &Cpu, d_out: Matrix<'_>, ids: &[u32], d_table: MatrixMut<'_>) {
    thread_local! {
        static ORDER: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    // Taken, not borrowed: while this thread waits for others it may run another operation.
    let mut order = ORDER.take();
    order.clear();
    // The token in the lower half makes the keys distinct, and the sort stable.
    order.extend((0u64..).zip(ids).map(|(token, &id)| u64::from(id) << 32 | token));
    order.sort_unstable();
    let runs = Runs { order: &order, isa: cpu.isa(), d_out, d_table: &SharedRows::new(d_table) };
    let (positions, strips) = (order.len().div_ceil(POSITIONS), d_out.columns.div_ceil(STRIP));
    for_each(cpu, d_out.data.len() >= INLINE_ELEMENTS, positions * strips, |item| {
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

/// Runs of equal ids in sorted order, with the rows to sum.
struct Runs<'a> {
    order: &'a [u64],
    isa: Supported,
    d_out: Matrix<'a>,
    d_table: &'a SharedRows<'a>,
}

impl Runs<'_> {
    /// Reduces the runs that begin in `POSITIONS` positions from `start` on, in one strip of
    /// columns.
    fn reduce(&self, start: usize, column: usize) {
        let id = |position: usize| (self.order[position] >> 32) as usize;
        let columns = column..(column + STRIP).min(self.d_out.columns);
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
                dispatch(self.isa, SumRows { tokens, x: self.d_out, column, target });
            }
            position += length;
        }
    }
}

struct SumRows<'a> {
    tokens: &'a [u64],
    x: Matrix<'a>,
    column: usize,
    target: &'a mut [f32],
}

impl Kernel for SumRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for &key in self.tokens {
            let start = (key as u32) as usize * self.x.columns + self.column;
            add(&self.x.data[start..][..self.target.len()], self.target);
        }
    }
}

#[inline(always)]
fn add(source: &[f32], target: &mut [f32]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += source;
    }
}
