use super::rows::{GradientTile, copy_rows, dot_rows, write_rows};
use super::{Head, KEYS, Part, QUERIES, bias};
use crate::View;
use crate::micro::Multiply;
use crate::parallel::SharedRows;
use crate::simd::dispatch;
use crate::tile::{Left, PANEL, Right, Scratch, Shape, pack_panels, padded, product};
use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// What the forward pass got and left, and the gradient of its output.
pub(super) struct Saved<'a> {
    pub(super) d_out: View<'a>,
    pub(super) qkv: View<'a>,
    pub(super) out: View<'a>,
    pub(super) log_sum_exp: View<'a>,
}

/// Gradients of one head of one sequence.
///
/// With `p` the probabilities and `d` the gradient of the output, tile by tile:
/// `d_v += pᵀ d`, `d_s = p * (d vᵀ - rowsum(d * out))`, `d_q += d_s k`, `d_k += d_sᵀ q`.
pub(super) fn backward(
    head: &Head<'_>,
    buckets: &[u32],
    saved: &Saved<'_>,
    d_qkv: &SharedRows<'_>,
    d_buckets: Option<&SharedRows<'_>>,
    scratch: &mut Scratch,
) {
    let mut work = Work::of(head, !buckets.is_empty(), d_buckets.is_some(), scratch);
    work.pack_keys_and_values(head, saved.qkv);
    bias::by_distance(head, buckets, LOG2_E, work.offsets);
    for first in (0..head.length()).step_by(QUERIES) {
        let queries = first..(first + QUERIES).min(head.length());
        work.pack_queries(head, saved, &queries);
        let mut seen_any = false;
        for keys in head.key_tiles(&queries, KEYS) {
            work.tile(head, &queries, &keys, seen_any);
            seen_any = true;
        }
        write(head, d_qkv, Part::Query, queries, work.d_queries, head.config.scale);
    }
    // The packed queries carry `scale * log2 e`.
    write(head, d_qkv, Part::Key, 0..head.length(), work.d_keys, LN_2);
    write(head, d_qkv, Part::Value, 0..head.length(), work.d_values, 1.0);
    if let Some(d_buckets) = d_buckets {
        bias::sum_by_bucket(head, buckets, work.d_offsets, d_buckets);
    }
}

/// Packed operands and sums of one head; rows are of `width`, the head dimension padded.
struct Work<'s> {
    width: usize,
    key_panels: &'s mut [f32],
    value_panels: &'s mut [f32],
    keys: &'s mut [f32],
    d_keys: &'s mut [f32],
    d_values: &'s mut [f32],
    /// Of a tile of queries, as the next two.
    queries: &'s mut [f32],
    d_out: &'s mut [f32],
    d_queries: &'s mut [f32],
    /// Logarithms in base 2 of the softmax normalisers, one for each query of the tile.
    normalisers: &'s mut [f32],
    /// Dot products of output and its gradient, one for each query of the tile.
    deltas: &'s mut [f32],
    /// Scores of a tile as rows of `stride`, then its probabilities.
    scores: &'s mut [f32],
    d_scores: &'s mut [f32],
    stride: usize,
    /// Offsets of the scores by distance.
    offsets: &'s mut [f32],
    d_offsets: &'s mut [f32],
}

impl<'s> Work<'s> {
    fn of(head: &Head<'_>, biased: bool, d_bias: bool, scratch: &'s mut Scratch) -> Work<'s> {
        let (length, dim) = (head.length(), head.shape.dim);
        let width = padded(dim);
        // A row more than the scores need: rows a power of two apart share cache sets.
        let stride = padded(length).min(KEYS) + 16;
        let panels = length.next_multiple_of(PANEL) * dim;
        let offsets = if biased { 2 * length - 1 } else { 0 };
        let [
            key_panels,
            value_panels,
            keys,
            d_keys,
            d_values,
            queries,
            d_out,
            d_queries,
            normalisers,
            deltas,
            scores,
            d_scores,
            offsets,
            d_offsets,
        ] = scratch.split([
            panels,
            panels,
            length * width,
            length * width,
            length * width,
            QUERIES * width,
            QUERIES * width,
            QUERIES * width,
            QUERIES,
            QUERIES,
            QUERIES * stride,
            QUERIES * stride,
            offsets,
            if d_bias { offsets } else { 0 },
        ]);
        d_keys.fill(0.0);
        d_values.fill(0.0);
        d_offsets.fill(0.0);
        Work {
            width,
            key_panels,
            value_panels,
            keys,
            d_keys,
            d_values,
            queries,
            d_out,
            d_queries,
            normalisers,
            deltas,
            scores,
            d_scores,
            stride,
            offsets,
            d_offsets,
        }
    }

    fn pack_keys_and_values(&mut self, head: &Head<'_>, qkv: View<'_>) {
        let (isa, length, dim) = (head.shape.isa, head.length(), head.shape.dim);
        let (keys, values) = (head.of(Part::Key, qkv), head.of(Part::Value, qkv));
        pack_panels(isa, keys, length, dim, qkv.columns, self.key_panels);
        pack_panels(isa, values, length, dim, qkv.columns, self.value_panels);
        copy_rows(isa, keys, qkv.columns, length, dim, 1.0, self.keys);
    }

    /// Packs what belongs to the queries of a tile.
    fn pack_queries(&mut self, head: &Head<'_>, saved: &Saved<'_>, queries: &Range<usize>) {
        let (isa, dim, rows) = (head.shape.isa, head.shape.dim, queries.len());
        let Saved { d_out, qkv, out, log_sum_exp } = *saved;
        let source = &head.of(Part::Query, qkv)[queries.start * qkv.columns..];
        // Scores are in base 2, as in the forward pass.
        let factor = head.config.scale * LOG2_E;
        copy_rows(isa, source, qkv.columns, rows, dim, factor, self.queries);
        let token = head.tokens.start + queries.start;
        let start = token * out.columns + head.columns().start;
        copy_rows(isa, &d_out.data[start..], d_out.columns, rows, dim, 1.0, self.d_out);
        let deltas = &mut self.deltas[..rows];
        dot_rows(isa, &out.data[start..], out.columns, self.d_out, dim, deltas);
        let saved = log_sum_exp.data[token * log_sum_exp.columns + head.head..].iter();
        for (normaliser, saved) in
            self.normalisers.iter_mut().zip(saved.step_by(log_sum_exp.columns))
        {
            *normaliser = saved * LOG2_E;
        }
    }

    /// Adds the gradients of one tile; `seen_any` when its queries have seen keys before.
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
        let right = Right::panels(&self.key_panels[keys.start * dim..], dim);
        product::<Multiply>(isa, shape, left, right, false, self.scores, stride);
        let left = Left::rows(self.d_out, width);
        let right = Right::panels(&self.value_panels[keys.start * dim..], dim);
        product::<Multiply>(isa, shape, left, right, false, self.d_scores, stride);
        let gradient = GradientTile {
            head,
            queries: queries.clone(),
            keys: keys.clone(),
            offsets: self.offsets,
            normalisers: self.normalisers,
            deltas: self.deltas,
            scores: self.scores,
            d_scores: self.d_scores,
            stride,
            d_offsets: self.d_offsets,
        };
        dispatch(isa, gradient);

        let rows = keys.start * width..keys.end * width;
        let shape = Shape { rows: keys.len(), columns: width, inner: queries.len() };
        let (left, right) = (Left::transposed(self.scores, stride), Right::rows(self.d_out, width));
        product::<Multiply>(isa, shape, left, right, true, &mut self.d_values[rows.clone()], width);
        let left = Left::transposed(self.d_scores, stride);
        let right = Right::rows(self.queries, width);
        product::<Multiply>(isa, shape, left, right, true, &mut self.d_keys[rows.clone()], width);
        let shape = Shape { rows: queries.len(), columns: width, inner: keys.len() };
        let (left, right) =
            (Left::rows(self.d_scores, stride), Right::rows(&self.keys[rows], width));
        product::<Multiply>(isa, shape, left, right, seen_any, self.d_queries, width);
    }
}

/// Writes packed rows, times `factor`, to the columns of the head.
fn write(
    head: &Head<'_>,
    d_qkv: &SharedRows<'_>,
    part: Part,
    positions: Range<usize>,
    source: &[f32],
    factor: f32,
) {
    let width = padded(head.shape.dim);
    let factors = [factor; QUERIES];
    let tokens = head.tokens.start + positions.start..head.tokens.start + positions.end;
    for (token, source) in tokens.clone().step_by(QUERIES).zip(source.chunks(QUERIES * width)) {
        let factors = &factors[..(tokens.end - token).min(QUERIES)];
        // SAFETY: these columns of these tokens belong to this work item alone.
        unsafe { write_rows(head.shape.isa, source, factors, d_qkv, token, head.part(part)) };
    }
}
