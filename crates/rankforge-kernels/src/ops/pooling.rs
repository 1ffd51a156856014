use crate::parallel::{SharedRows, for_each};
use crate::simd::{Kernel, Simd, dispatch};
use crate::{Indices, Ragged, View, ViewMut};
use std::ops::Range;

/// How the tokens of a sequence become one vector, as in sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The first token that is not skipped.
    Cls,
    /// Elementwise maximum.
    Max,
    /// Arithmetic mean.
    Mean,
    /// Sum over the square root of the length.
    MeanSqrtLen,
    /// Mean weighted by position in the sequence: 1 for its first token, skipped or not.
    WeightedMean,
    /// The last token.
    LastToken,
}

/// Pools each sequence into columns `column .. column + H` of its row of `out`.
///
/// The first `skip[b]` tokens of sequence `b` (a prompt) are left out, as sentence-transformers 6
/// does for every mode; `None` leaves out no token. A sequence with no token left gives zeros.
///
/// # Shapes
/// `x`: `T x H`; `skip`: `B`; `out`: `B x W` with `W >= column + H`.
///
/// # Panics
/// When the shapes differ from these.
pub fn pool(
    mode: Pooling,
    x: View<'_>,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    out: ViewMut<'_>,
) {
    assert_eq!(x.rows, ragged.tokens(), "pooling of {} tokens", ragged.tokens());
    pool_rows(mode, x, None, ragged, skip, column, out);
}

/// [`pool`] of the rows of `table` that `ids` name, in the same bits and without the matrix of all tokens.
///
/// # Shapes
/// `table`: `V x H`; `ids`: `T`; `skip`: `B`; `out`: `B x W` with `W >= column + H`.
///
/// # Panics
/// When the shapes differ from these, or an id is not below `V`.
pub fn pool_embeddings(
    mode: Pooling,
    table: View<'_>,
    ids: &Indices,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    out: ViewMut<'_>,
) {
    assert_eq!(ids.len(), ragged.tokens(), "pooling of {} tokens", ragged.tokens());
    pool_rows(mode, table, Some(ids.values()), ragged, skip, column, out);
}

fn pool_rows(
    mode: Pooling,
    source: View<'_>,
    ids: Option<&[u32]>,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    out: ViewMut<'_>,
) {
    check(source.columns, ragged, skip, column, out.as_view());
    let (isa, width) = (source.device.cpu_isa(), source.columns);
    let out = SharedRows::new(out);
    let parallel = ragged.tokens() * width >= INLINE_NUMBERS;
    for_each(source.device, parallel, ragged.sequences(), |sequence| {
        // SAFETY: each sequence has its own row.
        let out = unsafe { out.part(sequence, column..column + width) };
        let (tokens, weight) = contribution(mode, ragged.range(sequence), skipped(skip, sequence));
        let x = match ids {
            Some(ids) => Tokens { ids: Some(&ids[tokens.clone()]), ..Tokens::of(source, tokens) },
            None => Tokens::of(source.slice_rows(tokens.clone()), tokens),
        };
        if mode == Pooling::Max {
            dispatch(isa, Maximum { x, out });
        } else {
            dispatch(isa, WeightedSum { weight, x, out });
        }
    });
}

/// The tokens of a sequence: rows in their order, or those that ids name.
#[derive(Clone, Copy)]
struct Tokens<'a> {
    rows: &'a [f32],
    ids: Option<&'a [u32]>,
    count: usize,
    columns: usize,
}

impl<'a> Tokens<'a> {
    fn of(rows: View<'a>, tokens: Range<usize>) -> Tokens<'a> {
        Tokens { rows: rows.data, ids: None, count: tokens.len(), columns: rows.columns }
    }

    #[inline(always)]
    fn row(&self, token: usize) -> &'a [f32] {
        let row = self.ids.map_or(token, |ids| ids[token] as usize);
        &self.rows[row * self.columns..][..self.columns]
    }
}

/// Backward of [`pool`], added to `d_x`; needs the input (for `Max`, whose gradient goes to the
/// first of equal maxima).
///
/// # Shapes
/// `d_out`: `B x W`; `x`, `d_x`: `T x H`; `skip`: `B`.
///
/// # Panics
/// When the shapes differ from these.
pub fn pool_backward(
    mode: Pooling,
    d_out: View<'_>,
    x: View<'_>,
    ragged: &Ragged,
    skip: Option<&Indices>,
    column: usize,
    d_x: ViewMut<'_>,
) {
    check(x.columns, ragged, skip, column, d_out);
    assert_eq!(x.rows, ragged.tokens(), "pooling of {} tokens", ragged.tokens());
    assert_eq!((d_x.rows, d_x.columns), (x.rows, x.columns), "gradient of the pooled tokens");
    let (isa, columns) = (x.device.cpu_isa(), column..column + x.columns);
    let d_x = SharedRows::new(d_x);
    for_each(x.device, x.data.len() >= INLINE_NUMBERS, ragged.sequences(), |sequence| {
        let d_out = &d_out.data[sequence * d_out.columns..][columns.clone()];
        let (tokens, weight) = contribution(mode, ragged.range(sequence), skipped(skip, sequence));
        // SAFETY: each sequence has its own rows.
        let d_x = unsafe { d_x.rows(tokens.clone()) };
        let x = x.slice_rows(tokens);
        if mode == Pooling::Max {
            dispatch(isa, MaximumBackward { d_out, x, d_x });
        } else {
            dispatch(isa, WeightedSumBackward { d_out, weight, d_x });
        }
    });
}

/// Fewer numbers than these are not worth waking another thread.
const INLINE_NUMBERS: usize = 1 << 15;

fn check(width: usize, ragged: &Ragged, skip: Option<&Indices>, column: usize, out: View<'_>) {
    if let Some(skip) = skip {
        assert_eq!(skip.len(), ragged.sequences(), "tokens to skip, one number per sequence");
    }
    assert!(
        out.rows == ragged.sequences() && column + width <= out.columns,
        "pooling of {} sequences of width {width} to column {column} of {out:?}",
        ragged.sequences()
    );
}

/// Weight of each pooled token: `factor`, or `factor * (first + i)` for the `i`-th.
#[derive(Clone, Copy)]
struct Weight {
    factor: f32,
    /// Position of the first pooled token, from 1, when positions count.
    first: Option<usize>,
}

impl Weight {
    #[inline(always)]
    fn of(self, index: usize) -> f32 {
        self.first.map_or(self.factor, |first| (first + index) as f32 * self.factor)
    }
}

/// Leading tokens of a sequence that are left out.
fn skipped(skip: Option<&Indices>, sequence: usize) -> usize {
    skip.map_or(0, |skip| skip.values()[sequence] as usize)
}

/// The tokens that count and their weights (of no meaning for `Max`).
fn contribution(mode: Pooling, tokens: Range<usize>, skip: usize) -> (Range<usize>, Weight) {
    let skip = skip.min(tokens.len());
    let kept = tokens.start + skip..tokens.end;
    let plain = |factor| Weight { factor, first: None };
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
            (kept, Weight { factor: 1.0 / sum as f32, first: Some(skip + 1) })
        }
    }
}

struct WeightedSum<'a> {
    weight: Weight,
    x: Tokens<'a>,
    out: &'a mut [f32],
}

impl Kernel for WeightedSum<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        self.out.fill(0.0);
        for token in 0..self.x.count {
            let weight = self.weight.of(token);
            for (out, x) in self.out.iter_mut().zip(self.x.row(token)) {
                *out += weight * x;
            }
        }
    }
}

struct WeightedSumBackward<'a> {
    d_out: &'a [f32],
    weight: Weight,
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
                // Not-a-number stays once met.
                *out = if x > *out || x.is_nan() { x } else { *out };
            }
        }
    }
}

struct MaximumBackward<'a> {
    d_out: &'a [f32],
    x: View<'a>,
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
