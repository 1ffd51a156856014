use crate::cpu::attention::bias::Bias;
use crate::cpu::attention::head::{Head, KEYS};
use crate::cpu::attention::operands::{Words, write_rows};
use crate::cpu::attention::parts::{Address, Part, Parts};
use crate::cpu::attention::rows::SoftmaxTile;
use crate::cpu::matmul::small::{Left, Out, PANEL, Shape, padded};
use crate::cpu::matrix::Matrix;
use crate::cpu::memory::Aligned;
use crate::cpu::parallel::SharedRows;
use crate::cpu::simd::dispatch;
use std::f32::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// Attention of one head of one sequence.
pub(super) fn forward(
    head: &Head<'_>,
    bias: Option<&Bias<'_>>,
    qkv: &Parts<Matrix<'_>>,
    out: &SharedRows<'_>,
    log_sum_exp: &SharedRows<'_>,
    memory: &mut Aligned,
) {
    let isa = head.shape.isa;
    let mut work = ForwardWork::of(head, bias.is_some(), memory);
    work.pack_keys_and_values(head, qkv);
    if let Some(bias) = bias {
        bias.by_distance(head, LOG2_E, work.offsets);
    }
    for queries in head.query_tiles() {
        let Parts { queries: q, keys: k, values: v } = qkv.map(Address::of);
        let out_part = Part { matrix: Address::of_shared(out), start: 0 };
        head.prefetch(&queries, &[q, out_part], &[k, v]);
        work.pack_queries(head, qkv, &queries);
        let mut seen_any = false;
        for keys in head.key_tiles(&queries, KEYS) {
            work.tile(head, &queries, &keys, seen_any);
            seen_any = true;
        }
        let first = head.query_row(queries.start);
        for row in 0..queries.len() {
            // SAFETY: this element belongs to this work item alone.
            let normaliser = unsafe { log_sum_exp.part(first + row, head.head..head.head + 1) };
            normaliser[0] = (work.maxima[row] + work.sums[row].log2()) * LN_2;
            work.sums[row] = 1.0 / work.sums[row];
        }
        let factors = &work.sums[..queries.len()];
        // SAFETY: these columns of these rows belong to this work item alone.
        unsafe { write_rows(isa, work.mixed, factors, out, first, head.columns()) };
    }
}

/// Packed operands and sums of one head.
struct ForwardWork<'s> {
    words: Words,
    /// Keys as panels.
    keys: &'s mut [f32],
    /// Room for the keys of one panel as rows.
    key_rows: &'s mut [f32],
    /// Values as rows of words down the columns.
    values: &'s mut [f32],
    /// Queries of a tile as rows of words along them.
    queries: &'s mut [f32],
    /// Scores of a tile as rows of `stride`, then words of its unnormalised probabilities.
    scores: &'s mut [f32],
    stride: usize,
    /// Sums of values times probabilities, rows of the head dimension, padded.
    mixed: &'s mut [f32],
    maxima: &'s mut [f32],
    sums: &'s mut [f32],
    /// Offsets of the scores by distance.
    offsets: &'s mut [f32],
}

impl<'s> ForwardWork<'s> {
    fn of(head: &Head<'_>, biased: bool, memory: &'s mut Aligned) -> ForwardWork<'s> {
        let (length, words) = (head.length(), head.shape.words);
        let tile = head.shape.queries;
        // 16 columns more than needed: rows a power of two apart would share cache sets.
        let stride = padded(length).min(KEYS) + 16;
        let [keys, key_rows, values, queries, scores, mixed, maxima, sums, offsets] =
            memory.split([
                words.panels(length),
                PANEL * words.along_width(),
                words.down(length),
                tile * words.along_width(),
                tile * stride,
                tile * padded(words.dim),
                tile,
                tile,
                if biased { 2 * length - 1 } else { 0 },
            ]);
        ForwardWork {
            words,
            keys,
            key_rows,
            values,
            queries,
            scores,
            stride,
            mixed,
            maxima,
            sums,
            offsets,
        }
    }

    fn pack_keys_and_values(&mut self, head: &Head<'_>, qkv: &Parts<Matrix<'_>>) {
        self.words.pack_transposed(head.all_rows(qkv.keys), self.key_rows, self.keys);
        self.words.pack_down(head.all_rows(qkv.values), self.values);
    }

    /// Packs a tile of queries and resets the running maxima and sums.
    ///
    /// Scores are in base 2: the factor `log2 e` goes into the queries, so that the softmax needs
    /// no further multiplication.
    fn pack_queries(&mut self, head: &Head<'_>, qkv: &Parts<Matrix<'_>>, queries: &Range<usize>) {
        let (factor, first) = (head.config.scale * LOG2_E, head.query_row(queries.start));
        self.words.pack_along(head.rows(qkv.queries, first, queries.len(), factor), self.queries);
        self.maxima.fill(f32::NEG_INFINITY);
        self.sums.fill(0.0);
    }

    /// Adds one tile of keys to the outputs of `queries`; `seen_any` when an earlier tile of keys
    /// wrote them.
    fn tile(
        &mut self,
        head: &Head<'_>,
        queries: &Range<usize>,
        keys: &Range<usize>,
        seen_any: bool,
    ) {
        let (words, stride) = (self.words, self.stride);
        let Words { dim, .. } = words;
        let shape = Shape { rows: queries.len(), columns: padded(keys.len()), inner: dim };
        let left = Left::rows(self.queries, words.along_width());
        let right = words.panels_from(self.keys, keys.start);
        words.multiply(shape, left, right, Out::write(self.scores, stride));
        let softmax = SoftmaxTile {
            head,
            format: words.format,
            queries: queries.clone(),
            keys: keys.clone(),
            offsets: self.offsets,
            scores: self.scores,
            stride,
            maxima: self.maxima,
            sums: self.sums,
            mixed: self.mixed,
            width: padded(dim),
        };
        dispatch(words.isa, softmax);
        let shape = Shape { rows: queries.len(), columns: padded(dim), inner: keys.len() };
        let left = Left::rows(self.scores, stride);
        let right = words.down_from(self.values, keys.start);
        let out = Out { data: self.mixed, stride: padded(dim), accumulate: seen_any };
        words.multiply(shape, left, right, out);
    }
}
