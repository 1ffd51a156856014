use super::rows::{SoftmaxTile, copy_rows, write_rows};
use super::{Head, KEYS, Part, QUERIES, bias};
use crate::View;
use crate::micro::Multiply;
use crate::parallel::SharedRows;
use crate::simd::dispatch;
use crate::tile::{Left, PANEL, Right, Scratch, Shape, pack_panels, padded, product};
use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// Attention of one head of one sequence.
pub(super) fn forward(
    head: &Head<'_>,
    buckets: &[u32],
    qkv: View<'_>,
    out: &SharedRows<'_>,
    log_sum_exp: &SharedRows<'_>,
    scratch: &mut Scratch,
) {
    let isa = head.shape.isa;
    let mut work = Work::of(head, !buckets.is_empty(), scratch);
    work.pack_keys_and_values(head, qkv);
    bias::by_distance(head, buckets, LOG2_E, work.offsets);
    for first in (0..head.length()).step_by(QUERIES) {
        let queries = first..(first + QUERIES).min(head.length());
        work.pack_queries(head, qkv, &queries);
        let mut seen_any = false;
        for keys in head.key_tiles(&queries, KEYS) {
            work.tile(head, &queries, &keys, seen_any);
            seen_any = true;
        }
        let token = head.tokens.start + first;
        for (row, token) in (0..queries.len()).zip(token..) {
            // SAFETY: this number belongs to this work item alone.
            let normaliser = unsafe { log_sum_exp.part(token, head.head..head.head + 1) };
            normaliser[0] = (work.maxima[row] + work.sums[row].log2()) * LN_2;
            work.sums[row] = 1.0 / work.sums[row];
        }
        let factors = &work.sums[..queries.len()];
        // SAFETY: these columns of these tokens belong to this work item alone.
        unsafe { write_rows(isa, work.mixed, factors, out, token, head.columns()) };
    }
}

/// Packed operands and sums of one head.
struct Work<'s> {
    /// Keys as panels.
    keys: &'s mut [f32],
    /// Values as rows of `width`, the head dimension padded.
    values: &'s mut [f32],
    width: usize,
    /// Queries of a tile as rows of `width`.
    queries: &'s mut [f32],
    /// Scores of a tile as rows of `stride`, then its unnormalised probabilities.
    scores: &'s mut [f32],
    stride: usize,
    /// Values mixed by the probabilities, rows of `width`.
    mixed: &'s mut [f32],
    maxima: &'s mut [f32],
    sums: &'s mut [f32],
    /// Offsets of the scores by distance.
    offsets: &'s mut [f32],
}

impl<'s> Work<'s> {
    fn of(head: &Head<'_>, biased: bool, scratch: &'s mut Scratch) -> Work<'s> {
        let (length, dim) = (head.length(), head.shape.dim);
        let width = padded(dim);
        // A row more than the scores need: rows a power of two apart share cache sets.
        let stride = padded(length).min(KEYS) + 16;
        let [keys, values, queries, scores, mixed, maxima, sums, offsets] = scratch.split([
            length.next_multiple_of(PANEL) * dim,
            length * width,
            QUERIES * width,
            QUERIES * stride,
            QUERIES * width,
            QUERIES,
            QUERIES,
            if biased { 2 * length - 1 } else { 0 },
        ]);
        Work { keys, values, width, queries, scores, stride, mixed, maxima, sums, offsets }
    }

    fn pack_keys_and_values(&mut self, head: &Head<'_>, qkv: View<'_>) {
        let (isa, length, dim) = (head.shape.isa, head.length(), head.shape.dim);
        pack_panels(isa, head.of(Part::Key, qkv), length, dim, qkv.columns, self.keys);
        copy_rows(isa, head.of(Part::Value, qkv), qkv.columns, length, dim, 1.0, self.values);
    }

    /// Packs the queries of a tile and forgets the sums of the one before.
    ///
    /// Scores are in base 2: the factor `log2 e` goes into the queries, so that the softmax needs no
    /// further multiplication.
    fn pack_queries(&mut self, head: &Head<'_>, qkv: View<'_>, queries: &Range<usize>) {
        let source = &head.of(Part::Query, qkv)[queries.start * qkv.columns..];
        let (isa, dim, factor) = (head.shape.isa, head.shape.dim, head.config.scale * LOG2_E);
        copy_rows(isa, source, qkv.columns, queries.len(), dim, factor, self.queries);
        self.maxima.fill(f32::NEG_INFINITY);
        self.sums.fill(0.0);
    }

    /// Adds what `queries` take from `keys`; `seen_any` when they have seen keys before.
    fn tile(
        &mut self,
        head: &Head<'_>,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen_any: bool,
    ) {
        let (isa, dim, width, stride) = (head.shape.isa, head.shape.dim, self.width, self.stride);
        let shape = Shape { rows: queries.len(), columns: padded(keys.len()), inner: dim };
        let left = Left::rows(self.queries, width);
        let right = Right::panels(&self.keys[keys.start * dim..], dim);
        product::<Multiply>(isa, shape, left, right, false, self.scores, stride);
        let softmax = SoftmaxTile {
            head,
            queries: queries.clone(),
            keys: keys.clone(),
            offsets: self.offsets,
            scores: self.scores,
            stride,
            maxima: self.maxima,
            sums: self.sums,
            mixed: self.mixed,
            width,
        };
        dispatch(isa, softmax);
        let shape = Shape { rows: queries.len(), columns: width, inner: keys.len() };
        let left = Left::rows(self.scores, stride);
        let right = Right::rows(&self.values[keys.start * width..], width);
        product::<Multiply>(isa, shape, left, right, seen_any, self.mixed, width);
    }
}
