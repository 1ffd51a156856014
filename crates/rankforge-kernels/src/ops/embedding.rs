use crate::parallel::{SharedRows, for_each, for_row_blocks};
use crate::simd::{Kernel, Simd, dispatch};
use crate::{Indices, View, ViewMut};
use std::cell::RefCell;

/// `out[t] = table[ids[t]]`, or `out[t] += table[ids[t]]` when `accumulate`.
///
/// # Shapes
/// `table`: `V x E`; `ids`: `T`; `out`: `T x E`.
///
/// # Panics
/// When an id is not below `V`.
pub fn gather(table: View<'_>, ids: &Indices, accumulate: bool, out: ViewMut<'_>) {
    check(ids, table.rows);
    let (rows, columns) = (out.rows, out.columns);
    assert_eq!((rows, columns), (ids.len(), table.columns), "gather of {} rows of {table:?}", rows);
    let isa = table.device.cpu_isa();
    for_row_blocks(table.device, rows, columns, out, |first, out| {
        let ids = &ids.values()[first..first + out.rows];
        dispatch(isa, Gather { table: table.data, ids, accumulate, columns, out: out.data });
    });
}

/// `d_table[ids[t]] += d_out[t]`, in the order of `t` for each row: ids are sorted, then reduced.
///
/// # Shapes
/// `d_out`: `T x E`; `ids`: `T`; `d_table`: `V x E`.
///
/// # Panics
/// When an id is not below `V`.
pub fn gather_backward(d_out: View<'_>, ids: &Indices, d_table: ViewMut<'_>) {
    check(ids, d_table.rows);
    let (rows, columns) = (d_out.rows, d_out.columns);
    assert_eq!((rows, columns), (ids.len(), d_table.columns), "gradient of {} ids", ids.len());
    thread_local! {
        static ORDER: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
    }
    // Taken, not borrowed: while this thread waits for others it may be given another operation.
    let mut order = ORDER.take();
    order.clear();
    // The token number in the lower half makes the keys distinct and the sort stable.
    order.extend((0u64..).zip(ids.values()).map(|(token, &id)| u64::from(id) << 32 | token));
    order.sort_unstable();
    let runs = Runs {
        order: &order,
        isa: d_out.device.cpu_isa(),
        d_out,
        d_table: &SharedRows::new(d_table),
    };
    let (positions, strips) = (order.len().div_ceil(POSITIONS), columns.div_ceil(STRIP));
    for_each(d_out.device, rows * columns >= INLINE_NUMBERS, positions * strips, |item| {
        runs.reduce(item / strips * POSITIONS, item % strips * STRIP);
    });
    ORDER.set(order);
}

/// Fewer numbers than these are not worth waking another thread.
const INLINE_NUMBERS: usize = 1 << 15;

/// Sorted positions of a work item.
const POSITIONS: usize = 256;

/// Columns of a work item: few ids, as of segments, still give every thread some work.
const STRIP: usize = 128;

fn check(ids: &Indices, rows: usize) {
    if let Some(largest) = ids.values().iter().max() {
        assert!((*largest as usize) < rows, "id {largest} of a table of {rows} rows");
    }
}

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

/// Runs of equal ids in sorted order, and what they reduce.
struct Runs<'a> {
    order: &'a [u64],
    isa: crate::Isa,
    d_out: View<'a>,
    d_table: &'a SharedRows<'a>,
}

impl Runs<'_> {
    /// Reduces the runs that begin in `POSITIONS` positions from `start` on, in one strip of columns.
    fn reduce(&self, start: usize, column: usize) {
        let id = |position: usize| (self.order[position] >> 32) as usize;
        let columns = column..(column + STRIP).min(self.d_out.columns);
        let end = (start + POSITIONS).min(self.order.len());
        let mut position = start;
        while position < end {
            let row = id(position);
            let length = self.order[position..].partition_point(|&key| (key >> 32) as usize == row);
            if position == 0 || id(position - 1) != row {
                // SAFETY: a run is reduced by the item it begins in, and items differ in strip.
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
    x: View<'a>,
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
