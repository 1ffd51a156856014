use super::rows::{SoftmaxTile, copy_rows};
use super::{Head, Part, bias};
use crate::View;
use crate::parallel::SharedRows;
use crate::simd::dispatch;
use crate::tile::{Left, Multiply, PANEL, Right, Scratch, Shape, pack_panels, padded, product};
use std::f32::consts::{LN_2, LOG2_E};

/// Queries of a tile.
const QUERIES: usize = 32;

/// Keys of a tile, a multiple of the panel width: shorter sequences need no second softmax pass.
const KEYS: usize = 512;

/// Attention of one head of one sequence.
///
/// Scores are in base 2: the factor `log2 e` goes into the queries, so that the softmax needs no
/// further multiplication.
pub(super) fn forward(
    head: &Head<'_>,
    buckets: &[u32],
    qkv: View<'_>,
    out: &SharedRows<'_>,
    log_sum_exp: &SharedRows<'_>,
    scratch: &mut Scratch,
) {
    let (isa, dim, length) = (head.shape.isa, head.shape.dim, head.length());
    let width = padded(dim);
    let stride = padded(length).min(KEYS) + 16;
    let [keys, values, queries, scores, mixed, maxima, sums, offsets] = scratch.split([
        length.next_multiple_of(PANEL) * dim,
        length * width,
        QUERIES * width,
        QUERIES * stride,
        QUERIES * width,
        QUERIES,
        QUERIES,
        if buckets.is_empty() { 0 } else { 2 * length - 1 },
    ]);
    let of_head = |part| &qkv.data[head.tokens.start * qkv.columns + head.part(part).start..];
    pack_panels(isa, of_head(Part::Key), length, dim, qkv.columns, keys);
    copy_rows(isa, of_head(Part::Value), qkv.columns, length, dim, 1.0, values);
    bias::by_distance(head, buckets, LOG2_E, offsets);

    for first in (0..length).step_by(QUERIES) {
        let rows = first..(first + QUERIES).min(length);
        let source = &of_head(Part::Query)[first * qkv.columns..];
        let factor = head.config.scale * LOG2_E;
        copy_rows(isa, source, qkv.columns, rows.len(), dim, factor, queries);
        maxima.fill(f32::NEG_INFINITY);
        sums.fill(0.0);
        let seen = head.visible(rows.start).start..head.visible(rows.end - 1).end;
        let start = seen.start / PANEL * PANEL;
        for tile in (start..seen.end).step_by(KEYS) {
            let tile = tile..(tile + KEYS).min(seen.end);
            let shape = Shape { rows: rows.len(), columns: padded(tile.len()), inner: dim };
            let (left, right) =
                (Left::rows(queries, width), Right::panels(&keys[tile.start * dim..], dim));
            product::<Multiply>(isa, shape, left, right, false, scores, stride);
            dispatch(
                isa,
                SoftmaxTile {
                    head,
                    queries: rows.clone(),
                    keys: tile.clone(),
                    offsets,
                    scores,
                    stride,
                    maxima,
                    sums,
                    mixed,
                    width,
                },
            );
            let shape = Shape { rows: rows.len(), columns: width, inner: tile.len() };
            let (left, right) =
                (Left::rows(scores, stride), Right::rows(&values[tile.start * width..], width));
            product::<Multiply>(isa, shape, left, right, tile.start > start, mixed, width);
        }
        for (row, query) in rows.enumerate() {
            let token = head.tokens.start + query;
            // SAFETY: these columns of these tokens belong to this work item alone.
            let (out, normaliser) = unsafe {
                (out.part(token, head.columns()), log_sum_exp.part(token, head.head..head.head + 1))
            };
            let factor = 1.0 / sums[row];
            for (out, mixed) in out.iter_mut().zip(&mixed[row * width..]) {
                *out = mixed * factor;
            }
            normaliser[0] = (maxima[row] + sums[row].log2()) * LN_2;
        }
    }
}
