//! The softmax and its gradient, on each row of a tile of scores between the products.

use crate::cpu::attention::head::Head;
use crate::cpu::attention::operands::load_at;
use crate::cpu::dropout::Mask;
use crate::cpu::math::exp2;
use crate::cpu::matmul::format::Format;
use crate::cpu::matmul::pack::rounded;
use crate::cpu::simd::{Kernel, Simd, store_up_to};
use std::ops::Range;

/// Replaces each vector `v` of a row by an expression of it and the index of its first element;
/// `fill` pads the last one. A macro, because closures are not compiled for the instruction set.
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
/// each query. When a maximum grows, the sums so far are scaled down to it.
pub(super) struct SoftmaxTile<'a> {
    pub(super) head: &'a Head<'a>,
    /// Format of the words that the probabilities become, along the keys.
    pub(super) format: Format,
    pub(super) queries: Range<usize>,
    pub(super) keys: Range<usize>,
    /// Score offsets by distance, empty without a bias.
    pub(super) offsets: &'a [f32],
    pub(super) scores: &'a mut [f32],
    pub(super) stride: usize,
    pub(super) maxima: &'a mut [f32],
    pub(super) sums: &'a mut [f32],
    /// Sums of values times probabilities so far, rows of `width`.
    pub(super) mixed: &'a mut [f32],
    pub(super) width: usize,
}

impl Kernel for SoftmaxTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let mut mask = self.head.config.dropout.map(Mask::of);
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
            let scores = &mut self.scores[row * self.stride..][..self.keys.len()];
            along_in_place::<S>(self.format, scores);
        }
    }
}

/// Turns tiles of scores and of gradients of the dropped-out probabilities into these probabilities
/// and the gradients of the scores, in words of the format.
///
/// Where a word is a pair, two rows become one row of words, which replaces the first: the
/// transposed factors of the sums over queries. The gradients are written as words along the rows
/// too.
pub(super) struct GradientTile<'a> {
    pub(super) head: &'a Head<'a>,
    pub(super) format: Format,
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
    /// Words of the gradients along the rows, `stride` apart; unused where a word is one element.
    pub(super) along: &'a mut [f32],
    /// Gradients of the offsets, accumulated; empty unless they are needed.
    pub(super) d_offsets: &'a mut [f32],
}

impl Kernel for GradientTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self) {
        let mut mask = self.head.config.dropout.map(Mask::of);
        let rows = self.queries.len();
        for first in (0..rows).step_by(2) {
            let pair = first..(first + 2).min(rows);
            for row in pair.clone() {
                self.row::<S>(row, &mut mask);
            }
            self.words::<S>(pair);
        }
    }
}

impl GradientTile<'_> {
    #[inline(always)]
    fn row<S: Simd>(&mut self, row: usize, mask: &mut Option<Mask>) {
        let query = self.queries.start + row;
        let range = row * self.stride..row * self.stride + self.keys.len();
        let seen = seen(self.head, query, &self.keys);
        let scores = visible_part(&mut self.scores[range.clone()], &seen, &self.keys);
        let d_scores = visible_part(&mut self.d_scores[range], &seen, &self.keys);
        if scores.is_empty() {
            return;
        }
        let first = self.head.dropout_index(query) + seen.start as u64;
        add_offsets::<S>(self.head, query, &seen, self.offsets, scores);
        let normaliser = S::splat(self.normalisers[row]);
        let delta = S::splat(self.deltas[row]);
        match mask {
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

    /// Packs two rows, or the last of an odd number of rows, while they are in L1.
    #[inline(always)]
    fn words<S: Simd>(&mut self, rows: Range<usize>) {
        let (stride, keys) = (self.stride, self.keys.len());
        if !(S::BF16_PAIRS && self.format == Format::Bf16Pairs) {
            for row in rows {
                along_in_place::<S>(self.format, &mut self.scores[row * stride..][..keys]);
                along_in_place::<S>(self.format, &mut self.d_scores[row * stride..][..keys]);
            }
            return;
        }
        for row in rows.clone() {
            let target = &mut self.along[row * stride..][..keys.div_ceil(2)];
            pairs_along::<S>(&self.d_scores[row * stride..][..keys], target);
        }
        for tile in [&mut *self.scores, &mut *self.d_scores] {
            let (first, second) = tile[rows.start * stride..].split_at_mut(stride);
            // The last of an odd number of rows is paired with zeros.
            let second = if rows.len() == 2 { &second[..keys] } else { &[] };
            for start in (0..keys).step_by(S::LANES) {
                let first = &mut first[start..keys];
                let second = load_at::<S>(second, start);
                store_up_to::<S>(S::pairs(load_at::<S>(first, 0), second), first);
            }
        }
    }
}

/// Packs a row as pairs.
#[inline(always)]
fn pairs_along<S: Simd>(row: &[f32], target: &mut [f32]) {
    for (start, target) in (0..row.len()).step_by(2 * S::LANES).zip(target.chunks_mut(S::LANES)) {
        let (low, high) = (load_at::<S>(row, start), load_at::<S>(row, start + S::LANES));
        store_up_to::<S>(S::neighbour_pairs(low, high), target);
    }
}

/// Replaces a row of elements by its words, of which there may be fewer.
#[inline(always)]
fn along_in_place<S: Simd>(format: Format, row: &mut [f32]) {
    match format {
        Format::Exact => {}
        Format::Bf16Pairs if S::BF16_PAIRS => {
            let length = row.len();
            for (word, start) in (0..length).step_by(2 * S::LANES).enumerate() {
                let low = load_at::<S>(row, start);
                let high = load_at::<S>(row, start + S::LANES);
                store_up_to::<S>(S::neighbour_pairs(low, high), &mut row[word * S::LANES..]);
            }
        }
        _ => for_vectors!(S, row, 0.0, |_, numbers| rounded::<S>(format, numbers)),
    }
}

/// The key positions among `keys` that a query attends to.
#[inline(always)]
fn seen(head: &Head<'_>, query: usize, keys: &Range<usize>) -> Range<usize> {
    let visible = head.visible(query);
    let start = visible.start.clamp(keys.start, keys.end);
    start..visible.end.clamp(start, keys.end)
}

/// The elements of a row for the keys `seen`; the others become zero, as products run over all.
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
    for_vectors!(S, scores, 0.0, |index, score| S::add(score, load_at::<S>(offsets, index)));
}

/// The greatest element that is not NaN.
#[inline(always)]
fn maximum<S: Simd>(row: &[f32]) -> f32 {
    // `max` returns its second operand when the first is NaN.
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
