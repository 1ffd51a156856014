use crate::cpu::embedding;
use crate::cpu::machine::Cpu;
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::{INLINE_ELEMENTS, SharedRows, for_each};
use crate::cpu::sequences::Sequences;
use crate::cpu::simd::{Kernel, Simd, dispatch, load_up_to, store_up_to};
use crate::settings::pooling::{PoolOf, Pooling};
use std::ops::Range;

/// The settings of pooling, with host memory.
pub(crate) type Config<'a> = PoolOf<Sequences<'a>, &'a [u32]>;

/// Columns of a work item where `ids` name rows of a table: a strip of the rows that a batch reads
/// more than once stays in the cache, where whole rows would not.
const STRIP: usize = 128;

/// Pools rows of `source`, all of them in order or those that `ids` name.
pub(crate) fn pool(
    cpu: &Cpu,
    config: Config<'_>,
    source: Matrix<'_>,
    ids: Option<&[u32]>,
    out: MatrixMut<'_>,
) {
    let Config { mode, sequences, skip, column } = config;
    let width = source.columns;
    let out = SharedRows::new(out);
    let parallel = sequences.tokens() * width >= INLINE_ELEMENTS;
    let (count, strip) = (sequences.count(), if ids.is_some() { STRIP } else { width.max(1) });
    for_each(cpu, parallel, count * width.div_ceil(strip), |item| {
        let (sequence, start) = (item % count, item / count * strip);
        let columns = start..(start + strip).min(width);
        // SAFETY: each item has its own columns of the row of a sequence.
        let out = unsafe { out.part(sequence, column + columns.start..column + columns.end) };
        let skip = skip.map_or(0, |skip| skip[sequence] as usize);
        let (tokens, weight) = contribution(mode, sequences.range(sequence), skip);
        let of = |source, tokens| Tokens { start, ..Tokens::of(source, tokens) };
        let x = match ids {
            Some(ids) => Tokens { ids: Some(&ids[tokens.clone()]), ..of(source, tokens) },
            None => of(source.slice_rows(tokens.clone()), tokens),
        };
        if mode == Pooling::Max {
            dispatch(cpu.isa(), Maximum { x, out });
        } else {
            dispatch(cpu.isa(), WeightedSum { weight, x, out });
        }
    });
}

pub(crate) fn pool_backward(
    cpu: &Cpu,
    config: Config<'_>,
    d_out: Matrix<'_>,
    x: Matrix<'_>,
    d_x: MatrixMut<'_>,
) {
    let Config { mode, sequences, skip, column } = config;
    let columns = column..column + x.columns;
    let d_x = SharedRows::new(d_x);
    for_each(cpu, x.data.len() >= INLINE_ELEMENTS, sequences.count(), |sequence| {
        let d_out = &d_out.row(sequence)[columns.clone()];
        let skip = skip.map_or(0, |skip| skip[sequence] as usize);
        let (tokens, weight) = contribution(mode, sequences.range(sequence), skip);
        // SAFETY: each sequence has its own rows.
        let d_x = unsafe { d_x.rows(tokens.clone()) };
        let x = x.slice_rows(tokens);
        if mode == Pooling::Max {
            dispatch(cpu.isa(), MaximumBackward { d_out, x, d_x });
        } else {
            dispatch(cpu.isa(), WeightedSumBackward { d_out, weight, d_x });
        }
    });
}

/// Adds the gradients of pooled rows of a table, for all modes but `Max`.
pub(crate) fn pool_embeddings_backward(
    cpu: &Cpu,
    config: Config<'_>,
    d_out: Matrix<'_>,
    ids: &[u32],
    d_table: MatrixMut<'_>,
) {
    let Config { mode, sequences, skip, column } = config;
    let mut pooled = vec![(0, 0.0); sequences.tokens()];
    for sequence in 0..sequences.count() {
        let skip = skip.map_or(0, |skip| skip[sequence] as usize);
        let tokens = sequences.range(sequence);
        pooled[tokens.clone()].fill((sequence as u32, 0.0));
        let (kept, weight) = contribution(mode, tokens, skip);
        for (index, token) in kept.enumerate() {
            pooled[token].1 = weight.of(index);
        }
    }
    embedding::pooled_backward(cpu, d_out, column, &pooled, ids, d_table);
}

/// The tokens of a sequence: consecutive rows, or the rows that `ids` name, from column `start` on.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    rows: &'a [f32],
    ids: Option<&'a [u32]>,
    count: usize,
    columns: usize,
    start: usize,
}

impl<'a> Tokens<'a> {
    fn of(rows: Matrix<'a>, tokens: Range<usize>) -> Tokens<'a> {
        let (count, columns) = (tokens.len(), rows.columns);
        Tokens { rows: rows.data, ids: None, count, columns, start: 0 }
    }

    #[inline(always)]
    fn row(&self, token: usize) -> &'a [f32] {
        let row = self.ids.map_or(token, |ids| ids[token] as usize);
        &self.rows[row * self.columns..][self.start..self.columns]
    }
}

/// Weight of each pooled token: `factor`, or `factor * (first + i)` for the `i`-th.
#[derive(Clone, Copy)]
struct TokenWeight {
    factor: f32,
    /// Position of the first pooled token, from 1, when positions count.
    first: Option<usize>,
}

impl TokenWeight {
    #[inline(always)]
    fn of(self, index: usize) -> f32 {
        self.first.map_or(self.factor, |first| (first + index) as f32 * self.factor)
    }
}

/// The pooled tokens and their weights, which `Max` does not use.
fn contribution(mode: Pooling, tokens: Range<usize>, skip: usize) -> (Range<usize>, TokenWeight) {
    let skip = skip.min(tokens.len());
    let kept = tokens.start + skip..tokens.end;
    let plain = |factor| TokenWeight { factor, first: None };
    let count = kept.len() as f32;
    match mode {
        _ if kept.is_empty() => (kept, plain(0.0)),
        Pooling::Cls => (kept.start..kept.start + 1, plain(1.0)),
        Pooling::LastToken => (kept.end - 1..kept.end, plain(1.0)),
        Pooling::Max => (kept, plain(1.0)),
        Pooling::Mean => (kept, plain(1.0 / count)),
        Pooling::MeanSqrtLen => (kept, plain(1.0 / count.sqrt())),
        Pooling::WeightedMean => {
            // The sum of `skip + 1 ..= length`.
            let sum = (skip + 1 + tokens.len()) * kept.len() / 2;
            (kept, TokenWeight { factor: 1.0 / sum as f32, first: Some(skip + 1) })
        }
    }
}

/// Vectors of sums that stay in registers.
const VECTORS: usize = 8;

struct WeightedSum<'a> {
    weight: TokenWeight,
    x: Tokens<'a>,
    out: &'a mut [f32],
}

impl Kernel for WeightedSum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let WeightedSum { weight, mut x, out } = self;
        let mut chunks = out.chunks_exact_mut(VECTORS * S::LANES);
        for out in &mut chunks {
            weighted_sum::<S, VECTORS>(weight, x, out);
            x.start += out.len();
        }
        for out in chunks.into_remainder().chunks_mut(S::LANES) {
            weighted_sum::<S, 1>(weight, x, out);
            x.start += out.len();
        }
    }
}

/// The sums of at most `COUNT` vectors, in registers.
#[inline(always)]
fn weighted_sum<S: Simd, const COUNT: usize>(weight: TokenWeight, x: Tokens<'_>, out: &mut [f32]) {
    let mut sums = [S::splat(0.0); COUNT];
    for token in 0..x.count {
        let (weight, row) = (S::splat(weight.of(token)), &x.row(token)[..out.len()]);
        for (vector, sum) in sums.iter_mut().enumerate() {
            let x = load_up_to::<S>(&row[vector * S::LANES..]);
            *sum = S::add(*sum, S::mul(weight, x));
        }
    }
    for (vector, sum) in sums.into_iter().enumerate() {
        store_up_to::<S>(sum, &mut out[vector * S::LANES..]);
    }
}

struct WeightedSumBackward<'a> {
    d_out: &'a [f32],
    weight: TokenWeight,
    d_x: &'a mut [f32],
}

impl Kernel for WeightedSumBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        for (row, d_x) in self.d_x.chunks_exact_mut(self.d_out.len().max(1)).enumerate() {
            let weight = self.weight.of(row);
            for (d_x, d_out) in d_x.iter_mut().zip(self.d_out) {
                *d_x += weight * d_out;
            }
        }
    }
}

struct Maximum<'a> {
    x: Tokens<'a>,
    out: &'a mut [f32],
}

impl Kernel for Maximum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.out.fill(if self.x.count == 0 { 0.0 } else { f32::NEG_INFINITY });
        for token in 0..self.x.count {
            for (out, &x) in self.out.iter_mut().zip(self.x.row(token)) {
                // NaN stays once met.
                *out = if x > *out || x.is_nan() { x } else { *out };
            }
        }
    }
}

struct MaximumBackward<'a> {
    d_out: &'a [f32],
    x: Matrix<'a>,
    d_x: &'a mut [f32],
}

impl Kernel for MaximumBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        if self.x.rows == 0 {
            return;
        }
        let columns = self.x.columns;
        for column in (0..columns).step_by(S::LANES) {
            let width = S::LANES.min(columns - column);
            let (mut highest, mut place) = ([f32::NEG_INFINITY; 16], [0u32; 16]);
            for row in 0..self.x.rows {
                let x = &self.x.data[row * columns + column..][..width];
                for ((highest, place), &x) in highest.iter_mut().zip(&mut place).zip(x) {
                    if x > *highest {
                        (*highest, *place) = (x, row as u32);
                    }
                }
            }
            for (lane, &place) in place[..width].iter().enumerate() {
                self.d_x[place as usize * columns + column + lane] += self.d_out[column + lane];
            }
        }
    }
}
