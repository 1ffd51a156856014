//! What happens to each row of a score tile between the products.

use super::Head;
use crate::Isa;
use crate::math::exp2;
use crate::parallel::SharedRows;
use crate::simd::{Kernel, Simd, dispatch};
use crate::tile::padded;
use std::ops::Range;

/// Replaces each vector `v` of a row by an expression of it and the index of its first number;
/// `fill` completes the last one. A macro, because closures are not compiled for the instruction set.
macro_rules! for_vectors {
    ($S:ty, $row:expr, $fill:expr, |$index:pat_param, $v:ident| $value:expr) => {{
        let row: &mut [f32] = $row;
        let whole = row.len() / <$S>::LANES * <$S>::LANES;
        let mut start = 0;
        while start < whole {
            let ($index, $v) = (start, <$S>::load(&row[start..]));
            <$S>::store($value, &mut row[start..]);
            start += <$S>::LANES;
        }
        if whole < row.len() {
            let tail = &mut row[whole..];
            let ($index, $v) = (whole, <$S>::load_partial(tail, $fill));
            <$S>::store_partial($value, tail);
        }
    }};
}

/// Replaces each pair of vectors `a`, `b` of two rows of equal length.
macro_rules! for_vector_pairs {
    ($S:ty, $first:expr, $second:expr, |$index:pat_param, $a:ident, $b:ident| $values:expr) => {{
        let (first, second): (&mut [f32], &mut [f32]) = ($first, $second);
        let whole = first.len() / <$S>::LANES * <$S>::LANES;
        let mut start = 0;
        while start < whole {
            let $index = start;
            let ($a, $b) = (<$S>::load(&first[start..]), <$S>::load(&second[start..]));
            let (new_a, new_b) = $values;
            <$S>::store(new_a, &mut first[start..]);
            <$S>::store(new_b, &mut second[start..]);
            start += <$S>::LANES;
        }
        if whole < first.len() {
            let (first, second) = (&mut first[whole..], &mut second[whole..]);
            let $index = whole;
            let ($a, $b) = (<$S>::load_partial(first, 0.0), <$S>::load_partial(second, 0.0));
            let (new_a, new_b) = $values;
            <$S>::store_partial(new_a, first);
            <$S>::store_partial(new_b, second);
        }
    }};
}

/// Turns a tile of scores into unnormalised probabilities and keeps the running maximum and sum of
/// each query; when a maximum grows, what was summed before is scaled down to it.
pub(super) struct SoftmaxTile<'a> {
    pub(super) head: &'a Head<'a>,
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    /// Score offsets by distance, empty without a bias.
    pub(super) offsets: &'a [f32],
    pub(super) scores: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) maxima: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    /// The values mixed so far, rows of `width`.
    pub(super) mixed: &'a mut [f32],
    pub(super) width: usize,
}

impl Kernel for SoftmaxTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut mask = self.head.config.dropout.map(|dropout| dropout.mask());
        for (row, query) in self.queries.clone().enumerate() {
            let scores = &mut self.scores[row * self.stride..][..self.keys.len()];
            let seen = seen(self.head, query, &self.keys);
            let scores = visible_part(scores, &seen, &self.keys);
            if scores.is_empty() {
                continue;
            }
            let first = self.head.dropout_index(query) + seen.start as u64;
            add_offsets::<S>(self.head, query, &seen, self.offsets, scores);
            let highest = maximum::<S>(scores);
            let before = self.maxima[row];
            if highest > before {
                self.maxima[row] = highest;
                if before > f32::NEG_INFINITY {
                    let factor = exp2::<S>(S::splat(before - highest));
                    let mixed = &mut self.mixed[row * self.width..][..self.width];
                    self.sums[row] *= S::reduce_max(factor);
                    for_vectors!(S, mixed, 0.0, |_, mixed| S::mul(mixed, factor));
                }
            }
            let highest = S::splat(self.maxima[row]);
            let mut sum = S::splat(0.0);
            match &mut mask {
                None => for_vectors!(S, scores, f32::NEG_INFINITY, |_, score| {
                    let probability = exp2::<S>(S::sub(score, highest));
                    sum = S::add(sum, probability);
                    probability
                }),
                Some(mask) => for_vectors!(S, scores, f32::NEG_INFINITY, |index, score| {
                    let probability = exp2::<S>(S::sub(score, highest));
                    sum = S::add(sum, probability);
                    S::mul(probability, mask.factors::<S>(first + index as u64))
                }),
            }
            self.sums[row] += S::reduce_sum(sum);
        }
    }
}

/// Turns tiles of scores and of gradients of the dropped-out probabilities into these probabilities
/// and the gradients of the scores.
pub(super) struct GradientTile<'a> {
    pub(super) head: &'a Head<'a>,
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    /// Score offsets by distance, empty without a bias.
    pub(super) offsets: &'a [f32],
    /// Logarithms in base 2 of the softmax normalisers.
    pub(super) normalisers: &'a [f32],
    /// Sums of probability times gradient.
    pub(super) deltas: &'a [f32],
    pub(super) scores: &'a mut [f32],
    pub(super) d_scores: &'a mut [f32],
    pub(super) stride: usize,
    /// Gradients of the offsets, added to; empty when nobody asked.
    pub(super) d_offsets: &'a mut [f32],
}

impl Kernel for GradientTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut mask = self.head.config.dropout.map(|dropout| dropout.mask());
        for (row, query) in self.queries.clone().enumerate() {
            let range = row * self.stride..row * self.stride + self.keys.len();
            let seen = seen(self.head, query, &self.keys);
            let scores = visible_part(&mut self.scores[range.clone()], &seen, &self.keys);
            let d_scores = visible_part(&mut self.d_scores[range], &seen, &self.keys);
            if scores.is_empty() {
                continue;
            }
            let first = self.head.dropout_index(query) + seen.start as u64;
            add_offsets::<S>(self.head, query, &seen, self.offsets, scores);
            let normaliser = S::splat(self.normalisers[row]);
            let delta = S::splat(self.deltas[row]);
            match &mut mask {
                None => for_vector_pairs!(S, scores, d_scores, |_, score, d| {
                    let probability = exp2::<S>(S::sub(score, normaliser));
                    (probability, S::mul(probability, S::sub(d, delta)))
                }),
                Some(mask) => for_vector_pairs!(S, scores, d_scores, |index, score, d| {
                    let probability = exp2::<S>(S::sub(score, normaliser));
                    let factors = mask.factors::<S>(first + index as u64);
                    let d = S::sub(S::mul(d, factors), delta);
                    (S::mul(probability, factors), S::mul(probability, d))
                }),
            }
            if !self.d_offsets.is_empty() {
                let nearest = self.head.length() - 1 - query + seen.start;
                let d_offsets = &mut self.d_offsets[nearest..][..seen.len()];
                for_vector_pairs!(S, d_offsets, d_scores, |_, sum, d| (S::add(sum, d), d));
            }
        }
    }
}

/// Copies `rows` rows of `dim` numbers, times `factor`, to rows padded with zeros to whole vectors.
pub(super) fn copy_rows(
    isa: Isa,
    source: &[f32],
    stride: usize,
    rows: usize,
    dim: usize,
    factor: f32,
    target: &mut [f32],
) {
    dispatch(isa, CopyRows { source, stride, rows, dim, factor, target });
}

/// Writes packed rows to `columns` of `target` from row `first` on, row `i` times `factors[i]`.
///
/// # Safety
/// As for [`SharedRows::part`]: nobody else may hold these columns of these rows.
pub(super) unsafe fn write_rows(
    isa: Isa,
    source: &[f32],
    factors: &[f32],
    target: &SharedRows<'_>,
    first: usize,
    columns: Range<usize>,
) {
    dispatch(isa, WriteRows { source, factors, target, first, columns });
}

/// Writes the dot product of each row of `a`, `stride` apart, with the packed row of `b`.
pub(super) fn dot_rows(
    isa: Isa,
    a: &[f32],
    stride: usize,
    b: &[f32],
    dim: usize,
    products: &mut [f32],
) {
    dispatch(isa, DotRows { a, stride, b, dim, products });
}

struct CopyRows<'a> {
    source: &'a [f32],
    stride: usize,
    rows: usize,
    dim: usize,
    factor: f32,
    target: &'a mut [f32],
}

impl Kernel for CopyRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let (factor, width) = (S::splat(self.factor), padded(self.dim));
        for row in 0..self.rows {
            let source = &self.source[row * self.stride..][..self.dim];
            let target = &mut self.target[row * width..][..width];
            for start in (0..width).step_by(S::LANES) {
                let vector = load_up_to::<S>(source, start);
                S::store(S::mul(vector, factor), &mut target[start..]);
            }
        }
    }
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
            // SAFETY: `write_rows` has the caller's promise.
            let target = unsafe { self.target.part(self.first + row, self.columns.clone()) };
            let (source, factor) = (&self.source[row * width..][..width], S::splat(factor));
            for_vectors!(S, target, 0.0, |start, _old| {
                S::mul(S::load(&source[start..]), factor)
            });
        }
    }
}

struct DotRows<'a> {
    a: &'a [f32],
    stride: usize,
    b: &'a [f32],
    dim: usize,
    products: &'a mut [f32],
}

impl Kernel for DotRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let width = padded(self.dim);
        for (row, product) in self.products.iter_mut().enumerate() {
            let a = &self.a[row * self.stride..][..self.dim];
            let b = &self.b[row * width..][..width];
            let mut sum = S::splat(0.0);
            for start in (0..width).step_by(S::LANES) {
                sum = S::mul_add(load_up_to::<S>(a, start), S::load(&b[start..]), sum);
            }
            *product = S::reduce_sum(sum);
        }
    }
}

/// The vector at `start` of `row`, zero beyond its end.
#[inline(always)]
fn load_up_to<S: Simd>(row: &[f32], start: usize) -> S::V {
    if start + S::LANES <= row.len() {
        S::load(&row[start..])
    } else {
        S::load_partial(row.get(start..).unwrap_or(&[]), 0.0)
    }
}

/// The key positions among `keys` that a query sees.
#[inline(always)]
fn seen(head: &Head<'_>, query: usize, keys: &Range<usize>) -> Range<usize> {
    let visible = head.visible(query);
    let start = visible.start.clamp(keys.start, keys.end);
    start..visible.end.clamp(start, keys.end)
}

/// The numbers of a row for the keys `seen`; the others become zero, as products run over all.
#[inline(always)]
fn visible_part<'a>(row: &'a mut [f32], seen: &Range<usize>, keys: &Range<usize>) -> &'a mut [f32] {
    let (start, end) = (seen.start - keys.start, seen.end - keys.start);
    row[..start].fill(0.0);
    row[end..].fill(0.0);
    &mut row[start..end]
}

/// Adds the offset of each key's distance.
#[inline(always)]
fn add_offsets<S: Simd>(
    head: &Head<'_>,
    query: usize,
    seen: &Range<usize>,
    offsets: &[f32],
    scores: &mut [f32],
) {
    if offsets.is_empty() {
        return;
    }
    let nearest = head.length() - 1 - query + seen.start;
    let offsets = &offsets[nearest..][..seen.len()];
    for_vectors!(S, scores, 0.0, |index, score| S::add(score, load_up_to::<S>(offsets, index)));
}

/// The greatest number, not-a-number aside.
#[inline(always)]
fn maximum<S: Simd>(row: &[f32]) -> f32 {
    // The second operand of `max` wins over not-a-number.
    let mut highest = S::splat(f32::NEG_INFINITY);
    let mut chunks = row.chunks_exact(S::LANES);
    for chunk in &mut chunks {
        highest = S::max(S::load(chunk), highest);
    }
    if !chunks.remainder().is_empty() {
        highest = S::max(S::load_partial(chunks.remainder(), f32::NEG_INFINITY), highest);
    }
    S::reduce_max(highest)
}
