//! Work in blocks on the workers. Blocks depend on shapes alone, never on the number of threads, so
//! results do not either.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::shape::elements;
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Operations on fewer elements run on the calling thread: waking another costs more.
pub(crate) const INLINE_ELEMENTS: usize = 1 << 15;

/// Elements that a block of an elementwise operation touches, about: 64 KiB, to stay in L2.
const BLOCK_ELEMENTS: usize = 1 << 14;

/// Runs of blocks for each thread, so that threads end together.
const RUNS_PER_THREAD: usize = 8;

/// Operands that can be cut at a row.
pub(crate) trait SplitRows: Send + Sized {
    /// The first `rows` rows, and the others.
    fn split_rows(self, rows: usize) -> (Self, Self);
}

impl SplitRows for Matrix<'_> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        let (first, second) = self.data.split_at(rows * self.columns);
        (
            Matrix { rows, data: first, ..self },
            Matrix { rows: self.rows - rows, data: second, ..self },
        )
    }
}

impl SplitRows for MatrixMut<'_> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        let (first, second) = self.data.split_at_mut(rows * self.columns);
        let columns = self.columns;
        (
            MatrixMut { rows, columns, data: first },
            MatrixMut { rows: self.rows - rows, columns, data: second },
        )
    }
}

impl<P: SplitRows> SplitRows for Option<P> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        match self {
            Some(operand) => {
                let (first, second) = operand.split_rows(rows);
                (Some(first), Some(second))
            }
            None => (None, None),
        }
    }
}

impl<P: SplitRows> SplitRows for Vec<P> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        self.into_iter().map(|operand| operand.split_rows(rows)).unzip()
    }
}

macro_rules! split_tuple {
    ($($operand:ident),+) => {
        impl<$($operand: SplitRows),+> SplitRows for ($($operand,)+) {
            #[expect(non_snake_case, reason = "the type parameters name the variables too")]
            fn split_rows(self, rows: usize) -> (Self, Self) {
                let ($($operand,)+) = self;
                $(let $operand = $operand.split_rows(rows);)+
                (($($operand.0,)+), ($($operand.1,)+))
            }
        }
    };
}

split_tuple!(P1, P2);
split_tuple!(P1, P2, P3);
split_tuple!(P1, P2, P3, P4);
split_tuple!(P1, P2, P3, P4, P5);

/// Calls `work(first row, operands)` for each block of `block` rows, on all threads when
/// `parallel`.
pub(crate) fn for_blocks<P: SplitRows>(
    cpu: &Cpu,
    parallel: bool,
    rows: usize,
    block: usize,
    operands: P,
    work: impl Fn(usize, P) + Sync,
) {
    if !parallel || rows <= block || cpu.threads() == 1 {
        return cut(rows, block, operands, work);
    }
    // A task is a run of blocks, as memory is read faster in its order; it takes its operands out.
    let run = block * rows.div_ceil(block).div_ceil(cpu.threads() * RUNS_PER_THREAD);
    let mut runs = Vec::with_capacity(rows.div_ceil(run));
    cut(rows, run, operands, |first, operands| runs.push(Mutex::new(Some((first, operands)))));
    for_each(cpu, parallel, runs.len(), |index| {
        let operands = runs[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((start, operands)) = operands {
            let rows = run.min(rows - start);
            cut(rows, block, operands, |first, operands| work(start + first, operands));
        }
    });
}

/// Calls `work(first row, operands)` for each block of `block` rows, in order.
fn cut<P: SplitRows>(rows: usize, block: usize, operands: P, mut work: impl FnMut(usize, P)) {
    let (mut first, mut rest) = (0, operands);
    while rows - first > block {
        let (operands, tail) = rest.split_rows(block);
        work(first, operands);
        (first, rest) = (first + block, tail);
    }
    if rows > first {
        work(first, rest);
    }
}

/// [`for_blocks`] for operations that read and write each of `columns` elements of a row about
/// once.
pub(crate) fn for_row_blocks<P: SplitRows>(
    cpu: &Cpu,
    rows: usize,
    columns: usize,
    operands: P,
    work: impl Fn(usize, P) + Sync,
) {
    let block = (BLOCK_ELEMENTS / columns.max(1)).max(1);
    for_blocks(cpu, rows * columns >= INLINE_ELEMENTS, rows, block, operands, work);
}

/// Calls `work` with each index below `count`, in order, on all threads when `parallel`. A thread
/// that is free takes the next index, so threads end together where the costliest come first.
pub(crate) fn for_each(cpu: &Cpu, parallel: bool, count: usize, work: impl Fn(usize) + Sync) {
    if !parallel || count < 2 || cpu.threads() < 2 {
        return (0..count).for_each(work);
    }
    let next = AtomicUsize::new(0);
    cpu.workers().team().run(&|| {
        loop {
            let item = next.fetch_add(1, Ordering::Relaxed);
            if item >= count {
                return;
            }
            work(item);
        }
    });
}

/// A matrix of which several threads write disjoint parts.
pub(crate) struct SharedRows<'a> {
    pub(crate) data: *mut f32,
    pub(crate) row_count: usize,
    pub(crate) columns: usize,
    lifetime: PhantomData<&'a mut [f32]>,
}

// SAFETY: the matrix is borrowed exclusively, and the callers of `part` and `rows` promise that
// parts do not overlap.
unsafe impl Sync for SharedRows<'_> {}

// SAFETY: the matrix is borrowed exclusively, and `f32` may be written from any thread.
unsafe impl Send for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// All rows of `matrix`.
    pub(crate) fn new(matrix: MatrixMut<'a>) -> SharedRows<'a> {
        SharedRows::of_slice(matrix.data, matrix.rows, matrix.columns)
    }

    /// `data` as `rows` rows of `columns` elements.
    pub(crate) fn of_slice(data: &'a mut [f32], rows: usize, columns: usize) -> SharedRows<'a> {
        let length = data.len();
        assert_eq!(length, elements(rows, columns), "{rows} x {columns} of {length} elements");
        SharedRows { data: data.as_mut_ptr(), row_count: rows, columns, lifetime: PhantomData }
    }

    /// The elements of `row` in `columns`.
    ///
    /// # Safety
    /// No other part that is alive, on any thread, may overlap this one.
    #[expect(clippy::mut_from_ref, reason = "the caller keeps the parts apart")]
    pub(crate) unsafe fn part(&self, row: usize, columns: Range<usize>) -> &mut [f32] {
        assert!(
            row < self.row_count && columns.start <= columns.end && columns.end <= self.columns,
            "row {row}, columns {columns:?} of {} x {}",
            self.row_count,
            self.columns
        );
        // SAFETY: inside the matrix, as just asserted, and the caller promises that nothing
        // overlaps.
        unsafe {
            let start = self.data.add(row * self.columns + columns.start);
            std::slice::from_raw_parts_mut(start, columns.len())
        }
    }

    /// The rows in a range, as a matrix of their own.
    pub(crate) fn slice_rows(&self, rows: &Range<usize>) -> SharedRows<'_> {
        assert!(
            rows.start <= rows.end && rows.end <= self.row_count,
            "rows {rows:?} of {} x {}",
            self.row_count,
            self.columns
        );
        let data = self.data.wrapping_add(rows.start * self.columns);
        SharedRows { data, row_count: rows.len(), lifetime: PhantomData, ..*self }
    }

    /// All elements of some rows.
    ///
    /// # Safety
    /// As for [`SharedRows::part`].
    #[expect(clippy::mut_from_ref, reason = "the caller keeps the parts apart")]
    pub(crate) unsafe fn rows(&self, rows: Range<usize>) -> &mut [f32] {
        assert!(
            rows.start <= rows.end && rows.end <= self.row_count,
            "rows {rows:?} of {} x {}",
            self.row_count,
            self.columns
        );
        // SAFETY: inside the matrix, as just asserted, and the caller promises that nothing
        // overlaps.
        unsafe {
            let start = self.data.add(rows.start * self.columns);
            std::slice::from_raw_parts_mut(start, rows.len() * self.columns)
        }
    }
}

/// Calls `work(index, chunk)` for the chunks of `data`, on all threads when `parallel`.
pub(crate) fn for_chunks(
    cpu: &Cpu,
    parallel: bool,
    data: &mut [f32],
    size: usize,
    work: impl Fn(usize, &mut [f32]) + Sync,
) {
    let rows = data.len();
    for_blocks(cpu, parallel, rows, size, MatrixMut::new(rows, 1, data), |first, chunk| {
        work(first / size, chunk.data);
    });
}
