use crate::cpu::attention::bias::Bias;
use crate::cpu::attention::head::{Head, KEYS};
use crate::cpu::attention::operands::{Words, dot_rows, write_rows};
use crate::cpu::attention::parts::{Address, Part, Parts};
use crate::cpu::attention::rows::GradientTile;
use crate::cpu::matmul::small::{Left, Out, PANEL, Right, Shape, padded};
use crate::cpu::matrix::Matrix;
use crate::cpu::memory::Aligned;
use crate::cpu::parallel::SharedRows;
use crate::cpu::simd::dispatch;
use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// Inputs and outputs of the forward pass, and the gradient of the output.
pub(super) struct Saved<'a> {
    pub(super) d_out: Matrix<'a>,
    pub(super) qkv: Parts<Matrix<'a>>,
    pub(super) out: Matrix<'a>,
    pub(super) log_sum_exp: Matrix<'a>,
}

/// Gradients of one head of one sequence.
///
/// With `p` the probabilities and `d` the gradient of the output, tile by tile:
/// `d_v += pᵀ d`, `d_s = p * (d vᵀ - rowsum(d * out))`, `d_q += d_s k`, `d_k += d_sᵀ q`.
pub(super) fn backward(
    head: &Head<'_>,
    bias: Option<&Bias<'_>>,
    saved: &Saved<'_>,
    d_qkv: &Parts<&SharedRows<'_>>,
    d_buckets: Option<&SharedRows<'_>>,
    memory: &mut Aligned,
) {
    let mut work = BackwardWork::of(head, bias.is_some(), d_buckets.is_some(), memory);
    work.pack_keys_and_values(head, &saved.qkv);
    if let Some(bias) = bias {
        bias.by_distance(head, LOG2_E, work.offsets);
    }
    for queries in head.query_tiles() {
        prefetch(head, saved, d_qkv, &queries);
        work.pack_queries(head, saved, &queries);
        let mut seen_any = false;
        for keys in head.key_tiles(&queries, KEYS) {
            work.tile(head, &queries, &keys, seen_any);
            seen_any = true;
        }
        let (first, scale) = (head.query_row(queries.start), head.config.scale);
        write(head, d_qkv.queries, first, queries.len(), work.d_queries, scale);
    }
    let (first, length) = (head.tokens.start, head.length());
    // The packed queries carry `scale * log2 e`.
    write(head, d_qkv.keys, first, length, work.d_keys, LN_2);
    write(head, d_qkv.values, first, length, work.d_values, 1.0);
    if let (Some(bias), Some(d_buckets)) = (bias, d_buckets) {
        bias.sum_by_bucket(head, work.d_offsets, d_buckets);
    }
}

/// Prefetches what the next head will read and write.
fn prefetch(
    head: &Head<'_>,
    saved: &Saved<'_>,
    d_qkv: &Parts<&SharedRows<'_>>,
    queries: &Range<usize>,
) {
    let Parts { queries: q, keys: k, values: v } = saved.qkv.map(Address::of);
    let Parts { queries: d_q, keys: d_k, values: d_v } = d_qkv.map(Address::of_shared);
    let whole = |matrix| Part { matrix: Address::of(matrix), start: 0 };
    let of_queries = [q, whole(saved.d_out), whole(saved.out), d_q];
    head.prefetch(queries, &of_queries, &[k, v, d_k, d_v]);
}

/// Packed operands and sums of one head; sums have rows of the head dimension, padded.
struct BackwardWork<'s> {
    words: Words,
    key_panels: &'s mut [f32],
    value_panels: &'s mut [f32],
    /// Room for keys or values of one panel as rows.
    panel_rows: &'s mut [f32],
    /// Keys as rows of words down the columns.
    keys: &'s mut [f32],
    d_keys: &'s mut [f32],
    d_values: &'s mut [f32],
    /// Of a tile of queries, with words along the rows.
    queries: &'s mut [f32],
    d_out: &'s mut [f32],
    /// The same with words down the columns, where a word is a pair.
    queries_down: &'s mut [f32],
    d_out_down: &'s mut [f32],
    d_queries: &'s mut [f32],
    /// Logarithms in base 2 of the softmax normalisers, one for each query of the tile.
    normalisers: &'s mut [f32],
    /// Dot products of output and its gradient, one for each query of the tile.
    deltas: &'s mut [f32],
    /// Scores of a tile as rows of `stride`, then its probabilities.
    scores: &'s mut [f32],
    d_scores: &'s mut [f32],
    stride: usize,
    /// Words along the rows of `d_scores`, where they are pairs.
    d_words: &'s mut [f32],
    /// Offsets of the scores by distance.
    offsets: &'s mut [f32],
    d_offsets: &'s mut [f32],
}

impl<'s> BackwardWork<'s> {
    fn of(
        head: &Head<'_>,
        biased: bool,
        d_bias: bool,
        memory: &'s mut Aligned,
    ) -> BackwardWork<'s> {
        let (length, words, tile) = (head.length(), head.shape.words, head.shape.queries);
        let width = padded(words.dim);
        // 16 columns more than needed: rows a power of two apart would share cache sets.
        let stride = padded(length).min(KEYS) + 16;
        let offsets = if biased { 2 * length - 1 } else { 0 };
        let if_paired = |size| if words.paired() { size } else { 0 };
        let [
            key_panels,
            value_panels,
            panel_rows,
            keys,
            d_keys,
            d_values,
            queries,
            d_out,
            queries_down,
            d_out_down,
            d_queries,
            normalisers,
            deltas,
            scores,
            d_scores,
            d_words,
            offsets,
            d_offsets,
        ] = memory.split([
            words.panels(length),
            words.panels(length),
            PANEL * words.along_width(),
            words.down(length),
            length * width,
            length * width,
            tile * words.along_width(),
            tile * words.along_width(),
            if_paired(words.down(tile)),
            if_paired(words.down(tile)),
            tile * width,
            tile,
            tile,
            tile * stride,
            tile * stride,
            if_paired(tile * stride),
            offsets,
            if d_bias { offsets } else { 0 },
        ]);
        d_keys.fill(0.0);
        d_values.fill(0.0);
        d_offsets.fill(0.0);
        BackwardWork {
            words,
            key_panels,
            value_panels,
            panel_rows,
            keys,
            d_keys,
            d_values,
            queries,
            d_out,
            queries_down,
            d_out_down,
            d_queries,
            normalisers,
            deltas,
            scores,
            d_scores,
            stride,
            d_words,
            offsets,
            d_offsets,
        }
    }

    fn pack_keys_and_values(&mut self, head: &Head<'_>, qkv: &Parts<Matrix<'_>>) {
        let (words, keys) = (self.words, head.all_rows(qkv.keys));
        words.pack_transposed(keys, self.panel_rows, self.key_panels);
        words.pack_down(keys, self.keys);
        words.pack_transposed(head.all_rows(qkv.values), self.panel_rows, self.value_panels);
    }

    /// Packs the operands of a tile of queries, and computes their dot products.
    fn pack_queries(&mut self, head: &Head<'_>, saved: &Saved<'_>, queries: &Range<usize>) {
        let words = self.words;
        let Saved { d_out, qkv, out, log_sum_exp } = *saved;
        let (first, rows) = (head.query_row(queries.start), queries.len());
        // Scores are in base 2, as in the forward pass.
        let source = head.rows(qkv.queries, first, rows, head.config.scale * LOG2_E);
        words.pack_along(source, self.queries);
        let [d_out, out] =
            [d_out, out].map(|matrix| head.rows(Part { matrix, start: 0 }, first, rows, 1.0));
        words.pack_along(d_out, self.d_out);
        if words.paired() {
            words.pack_down(source, self.queries_down);
            words.pack_down(d_out, self.d_out_down);
        }
        dot_rows(words.isa, out, d_out, self.deltas);
        let saved = log_sum_exp.data[first * log_sum_exp.columns + head.head..].iter();
        for (normaliser, saved) in
            self.normalisers.iter_mut().zip(saved.step_by(log_sum_exp.columns))
        {
            *normaliser = saved * LOG2_E;
        }
    }

    /// Adds the gradients of one tile of queries and keys; `seen_any` when an earlier tile of keys
    /// wrote `d_queries`.
    fn tile(
        &mut self,
        head: &Head<'_>,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen_any: bool,
    ) {
        let (words, stride, along) = (self.words, self.stride, self.words.along_width());
        let width = padded(words.dim);
        let shape = Shape { rows: queries.len(), columns: padded(keys.len()), inner: words.dim };
        let (left, right) =
            (Left::rows(self.queries, along), words.panels_from(self.key_panels, keys.start));
        words.multiply(shape, left, right, Out::write(self.scores, stride));
        let (left, right) =
            (Left::rows(self.d_out, along), words.panels_from(self.value_panels, keys.start));
        words.multiply(shape, left, right, Out::write(self.d_scores, stride));
        self.row_work(head, queries, keys);

        let paired = words.paired();
        let [from_queries, from_d_out] = if paired {
            [&*self.queries_down, &*self.d_out_down]
        } else {
            [&*self.queries, &*self.d_out]
        };
        // A row of pairs replaced two rows.
        let row = if paired { 2 * stride } else { stride };
        let rows = keys.start * width..keys.end * width;
        let shape = Shape { rows: keys.len(), columns: width, inner: queries.len() };
        let (left, right) = (Left::transposed(self.scores, row), Right::rows(from_d_out, width));
        words.multiply(shape, left, right, Out::add(&mut self.d_values[rows.clone()], width));
        let (left, right) =
            (Left::transposed(self.d_scores, row), Right::rows(from_queries, width));
        words.multiply(shape, left, right, Out::add(&mut self.d_keys[rows], width));
        let d_words = if paired { &*self.d_words } else { &*self.d_scores };
        let shape = Shape { rows: queries.len(), columns: width, inner: keys.len() };
        let (left, right) = (Left::rows(d_words, stride), words.down_from(self.keys, keys.start));
        let out = Out { data: self.d_queries, stride: width, accumulate: seen_any };
        words.multiply(shape, left, right, out);
    }

    /// Turns products into probabilities and gradients of the scores, in the words of the format.
    fn row_work(&mut self, head: &Head<'_>, queries: &Range<usize>, keys: &Range<usize>) {
        let Words { isa, format, .. } = self.words;
        let gradient = GradientTile {
            head,
            format,
            queries: queries.clone(),
            keys: keys.clone(),
            offsets: self.offsets,
            normalisers: self.normalisers,
            deltas: self.deltas,
            scores: self.scores,
            d_scores: self.d_scores,
            stride: self.stride,
            along: self.d_words,
            d_offsets: self.d_offsets,
        };
        dispatch(isa, gradient);
    }
}

/// Writes packed rows, times `factor`, to the head's columns from row `first` on.
fn write(
    head: &Head<'_>,
    part: Part<&SharedRows<'_>>,
    first: usize,
    rows: usize,
    source: &[f32],
    factor: f32,
) {
    const ROWS: usize = 64;
    let (width, factors, end) = (padded(head.shape.words.dim), [factor; ROWS], first + rows);
    let Range { start, end: column_end } = head.columns();
    let columns = part.start + start..part.start + column_end;
    for (first, source) in (first..end).step_by(ROWS).zip(source.chunks(ROWS * width)) {
        let factors = &factors[..(end - first).min(ROWS)];
        // SAFETY: these columns of these rows belong to this work item alone.
        unsafe {
            write_rows(head.shape.isa, source, factors, part.matrix, first, columns.clone());
        }
    }
}
