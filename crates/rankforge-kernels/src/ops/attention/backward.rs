use super::rows::{GradientTile, copy_rows};
use super::{Head, Part, bias};
use crate::View;
use crate::parallel::SharedRows;
use crate::simd::dispatch;
use crate::tile::{Left, Multiply, PANEL, Right, Scratch, Shape, pack_panels, padded, product};
use std::f32::consts::{LN_2, LOG2_E};

/// Queries of a tile.
const QUERIES: usize = 64;

/// Keys of a tile, a multiple of the panel width.
const KEYS: usize = 256;

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
    let (isa, dim, length) = (head.shape.isa, head.shape.dim, head.length());
    let qkv = saved.qkv;
    let width = padded(dim);
    let stride = padded(length).min(KEYS) + 16;
    let distances = if buckets.is_empty() { 0 } else { 2 * length - 1 };
    let panels = length.next_multiple_of(PANEL) * dim;
    let [
        key_panels,
        value_panels,
        keys,
        d_keys,
        d_values,
        queries,
        d_out,
        d_queries,
        scores,
        d_scores,
        normalisers,
        deltas,
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
        QUERIES * stride,
        QUERIES * stride,
        QUERIES,
        QUERIES,
        distances,
        if d_buckets.is_some() { distances } else { 0 },
    ]);
    let of_head = |part| &qkv.data[head.tokens.start * qkv.columns + head.part(part).start..];
    pack_panels(isa, of_head(Part::Key), length, dim, qkv.columns, key_panels);
    pack_panels(isa, of_head(Part::Value), length, dim, qkv.columns, value_panels);
    copy_rows(isa, of_head(Part::Key), qkv.columns, length, dim, 1.0, keys);
    bias::by_distance(head, buckets, LOG2_E, offsets);
    d_keys.fill(0.0);
    d_values.fill(0.0);
    d_offsets.fill(0.0);

    for first in (0..length).step_by(QUERIES) {
        let rows = first..(first + QUERIES).min(length);
        let source = &of_head(Part::Query)[first * qkv.columns..];
        let factor = head.config.scale * LOG2_E;
        copy_rows(isa, source, qkv.columns, rows.len(), dim, factor, queries);
        let start = (head.tokens.start + first) * saved.d_out.columns + head.columns().start;
        copy_rows(
            isa,
            &saved.d_out.data[start..],
            saved.d_out.columns,
            rows.len(),
            dim,
            1.0,
            d_out,
        );
        for (row, query) in rows.clone().enumerate() {
            let token = head.tokens.start + query;
            let out = &saved.out.data[token * saved.out.columns..][head.columns()];
            deltas[row] = out.iter().zip(&d_out[row * width..]).map(|(out, d)| out * d).sum();
            normalisers[row] =
                saved.log_sum_exp.data[token * head.config.heads + head.head] * LOG2_E;
        }
        let seen = head.visible(rows.start).start..head.visible(rows.end - 1).end;
        let start = seen.start / PANEL * PANEL;
        for tile in (start..seen.end).step_by(KEYS) {
            let tile = tile..(tile + KEYS).min(seen.end);
            let by_key = Shape { rows: rows.len(), columns: padded(tile.len()), inner: dim };
            let right = Right::panels(&key_panels[tile.start * dim..], dim);
            product::<Multiply>(
                isa,
                by_key,
                Left::rows(queries, width),
                right,
                false,
                scores,
                stride,
            );
            let right = Right::panels(&value_panels[tile.start * dim..], dim);
            product::<Multiply>(
                isa,
                by_key,
                Left::rows(d_out, width),
                right,
                false,
                d_scores,
                stride,
            );
            dispatch(
                isa,
                GradientTile {
                    head,
                    queries: rows.clone(),
                    keys: tile.clone(),
                    offsets,
                    normalisers,
                    deltas,
                    scores,
                    d_scores,
                    stride,
                    d_offsets,
                },
            );
            let rows_of_tile = tile.start * width..tile.end * width;
            let by_dim = Shape { rows: tile.len(), columns: width, inner: rows.len() };
            let (left, right) = (Left::transposed(scores, stride), Right::rows(d_out, width));
            let target = &mut d_values[rows_of_tile.clone()];
            product::<Multiply>(isa, by_dim, left, right, true, target, width);
            let (left, right) = (Left::transposed(d_scores, stride), Right::rows(queries, width));
            let target = &mut d_keys[rows_of_tile.clone()];
            product::<Multiply>(isa, by_dim, left, right, true, target, width);
            let by_dim = Shape { rows: rows.len(), columns: width, inner: tile.len() };
            let (left, right) =
                (Left::rows(d_scores, stride), Right::rows(&keys[rows_of_tile], width));
            product::<Multiply>(isa, by_dim, left, right, tile.start > start, d_queries, width);
        }
        write(head, d_qkv, Part::Query, rows, d_queries, head.config.scale);
    }
    // The packed queries carry `scale * log2 e`.
    write(head, d_qkv, Part::Key, 0..length, d_keys, LN_2);
    write(head, d_qkv, Part::Value, 0..length, d_values, 1.0);
    if let Some(d_buckets) = d_buckets {
        let row = head.sequence * head.config.heads + head.head;
        let count = head.config.bias.map_or(0, |bias| bias.table.rows());
        // SAFETY: the row of this work item.
        let target = unsafe { d_buckets.part(row, 0..count) };
        for (&d_offset, &bucket) in d_offsets.iter().zip(bias::within(buckets, length)) {
            target[bucket as usize] += d_offset;
        }
    }
}

/// Writes packed rows, times `factor`, to the columns of the head.
fn write(
    head: &Head<'_>,
    d_qkv: &SharedRows<'_>,
    part: Part,
    positions: std::ops::Range<usize>,
    source: &[f32],
    factor: f32,
) {
    let width = padded(head.shape.dim);
    for (row, position) in positions.enumerate() {
        // SAFETY: these columns of these tokens belong to this work item alone.
        let target = unsafe { d_qkv.part(head.tokens.start + position, head.part(part)) };
        for (target, source) in target.iter_mut().zip(&source[row * width..]) {
            *target = source * factor;
        }
    }
}
