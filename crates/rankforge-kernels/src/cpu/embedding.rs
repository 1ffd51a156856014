use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::{INLINE_ELEMENTS, SharedRows, for_each, for_row_blocks};
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
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
        static SORTED: RefCell<Sorted> = const { RefCell::new(Sorted::new()) };
    }
    // Taken, not borrowed: while this thread waits for others it may run another operation.
    let mut sorted = SORTED.replace(Sorted::new());
    sorted.sort(ids, terms.pooled);
    let columns = d_table.columns;
    let d_table = &SharedRows::new(d_table);
    let runs = Runs { sorted: &sorted, isa: cpu.isa(), terms, columns, d_table };
    let (positions, strips) = (ids.len().div_ceil(POSITIONS), columns.div_ceil(STRIP));
    // Strip by strip, so that what a strip reads again for other ids is still in the cache.
    for_each(cpu, ids.len() * columns >= INLINE_ELEMENTS, positions * strips, |item| {
        runs.reduce(item % positions * POSITIONS, item / positions * STRIP);
    });
    SORTED.set(sorted);
}

/// Sorted positions in a work item.
const POSITIONS: usize = 256;

/// Columns of a work item: with few ids, as of segments, every thread still gets some work.
const STRIP: usize = 128;

/// Vectors of sums that stay in registers.
const VECTORS: usize = 8;

/// Tokens in the order of their ids.
struct Sorted {
    /// The id of a token in the upper half, its index in the lower.
    keys: Vec<u64>,
    /// The row that each of these tokens adds, and its weight.
    sources: Vec<(u32, f32)>,
    /// Where each run of equal ids begins.
    starts: Vec<usize>,
}

impl Sorted {
    const fn new() -> Sorted {
        Sorted { keys: Vec::new(), sources: Vec::new(), starts: Vec::new() }
    }

    fn sort(&mut self, ids: &[u32], pooled: Option<&[(u32, f32)]>) {
        let Sorted { keys, sources, starts } = self;
        keys.clear();
        // The token in the lower half makes the keys distinct, and the sort stable.
        keys.extend((0u64..).zip(ids).map(|(token, &id)| u64::from(id) << 32 | token));
        keys.sort_unstable();
        sources.clear();
        sources.extend(keys.iter().map(|&key| {
            let token = key as u32;
            pooled.map_or((token, 1.0), |pooled| pooled[token as usize])
        }));
        starts.clear();
        let id = |position: usize| keys[position] >> 32;
        starts.extend((0..keys.len()).filter(|&at| at == 0 || id(at - 1) != id(at)));
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
    sorted: &'a Sorted,
    isa: Supported,
    terms: Terms<'a>,
    columns: usize,
    d_table: &'a SharedRows<'a>,
}

impl Runs<'_> {
    /// Reduces the runs that begin in `POSITIONS` positions from `start` on, in one strip of
    /// columns.
    fn reduce(&self, start: usize, column: usize) {
        let Sorted { keys, sources, starts } = self.sorted;
        let columns = column..(column + STRIP).min(self.columns);
        let Terms { x, column: first, pooled } = self.terms;
        let (weighted, column) = (pooled.is_some(), first + column);
        let begun = |end: usize| starts.partition_point(|&at| at < end);
        for run in begun(start)..begun(start + POSITIONS) {
            let end = starts.get(run + 1).copied().unwrap_or(keys.len());
            let (tokens, id) = (&sources[starts[run]..end], (keys[starts[run]] >> 32) as usize);
            // SAFETY: only the item in which a run begins reduces it, and items of one run
            // write different columns.
            let target = unsafe { self.d_table.part(id, columns.clone()) };
            dispatch(self.isa, SumRows { tokens, weighted, x, column, target });
        }
    }
}

/// Adds rows of `x` from `column` on, times their weights where they are `weighted`.
struct SumRows<'a> {
    tokens: &'a [(u32, f32)],
    weighted: bool,
    x: Matrix<'a>,
    column: usize,
    target: &'a mut [f32],
}

impl Kernel for SumRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.weighted { self.add::<S, true>() } else { self.add::<S, false>() }
    }
}

impl SumRows<'_> {
    #[inline(always)]
    fn add<S: Simd, const WEIGHTED: bool>(self) {
        let SumRows { tokens, x, mut column, target, .. } = self;
        let mut chunks = target.chunks_exact_mut(VECTORS * S::LANES);
        for target in &mut chunks {
            add_rows_to::<S, WEIGHTED, VECTORS>(tokens, x, column, target);
            column += target.len();
        }
        for target in chunks.into_remainder().chunks_mut(S::LANES) {
            add_rows_to::<S, WEIGHTED, 1>(tokens, x, column, target);
            column += target.len();
        }
    }
}

/// Adds to at most `COUNT` vectors, in registers.
#[inline(always)]
fn add_rows_to<S: Simd, const WEIGHTED: bool, const COUNT: usize>(
    tokens: &[(u32, f32)],
    x: Matrix<'_>,
    column: usize,
    target: &mut [f32],
) {
    let mut sums = [S::splat(0.0); COUNT];
    for (vector, sum) in sums.iter_mut().enumerate() {
        *sum = load_up_to::<S>(&target[vector * S::LANES..]);
    }
    for &(row, weight) in tokens {
        let row = &x.data[row as usize * x.columns + column..][..target.len()];
        for (vector, sum) in sums.iter_mut().enumerate() {
            let mut term = load_up_to::<S>(&row[vector * S::LANES..]);
            if WEIGHTED {
                // The product is added to zero first, as where it is a row of its own: -0 becomes
                // 0.
                term = S::add(S::mul(S::splat(weight), term), S::splat(0.0));
            }
            *sum = S::add(*sum, term);
        }
    }
    for (vector, sum) in sums.into_iter().enumerate() {
        store_up_to::<S>(sum, &mut target[vector * S::LANES..]);
    }
}

#[inline(always)]
fn add(source: &[f32], target: &mut [f32]) {
    for (target, source) in target.iter_mut().zip(source) {
        *target += source;
    }
}
