//! Attention against a scalar twin in `f64` that holds the whole score matrix.

use crate::support::{EPS, assert_close, devices, random, rounded, wide};
use rankforge_kernels::ops::{
    Attention, AttentionBackward, Dropout, Qkv, RelativeBias, attention, attention_backward,
    dropout, relative_bucket,
};
use rankforge_kernels::{Buffer, Device, Indices, Precision, Ragged};
use std::f32::consts::LOG2_E;
use std::ops::Range;

/// A configuration with its operands; `Case::new` is plain attention.
pub(super) struct Case {
    pub(super) lengths: Vec<usize>,
    /// Query tokens, one per sequence; `None` means every token.
    pub(super) query_tokens: Option<Vec<u32>>,
    pub(super) heads: usize,
    pub(super) dim: usize,
    pub(super) window: Option<usize>,
    pub(super) causal: bool,
    /// Buckets and maximal distance.
    pub(super) bias: Option<(usize, usize)>,
    pub(super) dropout: Option<Dropout>,
    pub(super) precision: Precision,
    pub(super) qkv: Vec<f32>,
    pub(super) d_out: Vec<f32>,
    pub(super) table: Vec<f32>,
}

/// The gradients of the backward twin.
pub(super) struct Gradients {
    pub(super) d_qkv: Vec<f64>,
    pub(super) d_table: Vec<f64>,
}

impl Case {
    pub(super) fn new(lengths: &[usize], heads: usize, dim: usize) -> Case {
        let tokens: usize = lengths.iter().sum();
        Case {
            lengths: lengths.to_vec(),
            query_tokens: None,
            heads,
            dim,
            window: None,
            causal: false,
            bias: None,
            dropout: None,
            precision: Precision::Float32,
            // Three times as wide, so that the softmax is far from uniform.
            qkv: random(1, tokens * 3 * heads * dim).iter().map(|x| 3.0 * x).collect(),
            d_out: random(2, tokens * heads * dim),
            table: Vec::new(),
        }
    }

    pub(super) fn with_bias(mut self, buckets: usize, max_distance: usize) -> Case {
        self.table = random(3, buckets * self.heads).iter().map(|x| 2.0 * x).collect();
        self.bias = Some((buckets, max_distance));
        self
    }

    fn tokens(&self) -> usize {
        self.lengths.iter().sum()
    }

    fn hidden(&self) -> usize {
        self.heads * self.dim
    }

    fn scale(&self) -> f64 {
        f64::from((1.0 / (self.dim as f64).sqrt()) as f32)
    }

    /// Output and normalisers of the operation, then with `backward` its gradients; zeros in the
    /// rows of tokens that are no queries.
    pub(super) fn run(&self, device: &Device, backward: bool) -> [Vec<f32>; 4] {
        let (tokens, hidden, heads) = (self.tokens(), self.hidden(), self.heads);
        let ragged = Ragged::new(device, self.lengths.iter().copied());
        let buckets = self.bias.map_or(0, |(buckets, _)| buckets);
        let table = Buffer::upload(device, buckets, heads, &self.table);
        let query_tokens =
            self.query_tokens.as_ref().map(|query_tokens| Indices::new(device, query_tokens));
        let bias = |(_, max_distance)| RelativeBias { table: table.view(), max_distance };
        let config = Attention {
            ragged: &ragged,
            queries: query_tokens.as_ref(),
            heads,
            scale: self.scale() as f32,
            window: self.window,
            causal: self.causal,
            bias: self.bias.map(bias),
            dropout: self.dropout,
            precision: self.precision,
        };
        let all: Vec<u32> = (0..tokens as u32).collect();
        let rows = self.query_tokens.as_ref().unwrap_or(&all);
        let part = |data: &[f32], rows: &[u32], columns: Range<usize>| {
            let (width, count) = (data.len() / tokens.max(1), columns.len());
            let row = |&row: &u32| data[row as usize * width..][columns.clone()].to_vec();
            Buffer::upload(
                device,
                rows.len(),
                count,
                &rows.iter().flat_map(row).collect::<Vec<_>>(),
            )
        };
        // Outputs are overwritten: their earlier values must not matter.
        let nan =
            |rows, columns| Buffer::upload(device, rows, columns, &vec![f32::NAN; rows * columns]);
        let (mut out, mut normalisers) = (nan(rows.len(), hidden), nan(rows.len(), heads));
        let qkv = part(&self.qkv, &all, 0..3 * hidden);
        let queries = part(&self.qkv, rows, 0..hidden);
        let keys_values = part(&self.qkv, &all, hidden..3 * hidden);
        let operands = || match query_tokens {
            None => Qkv::Together(qkv.view()),
            Some(_) => Qkv::Apart { queries: queries.view(), keys_values: keys_values.view() },
        };
        attention(&config, operands(), out.view_mut(), normalisers.view_mut());
        let mut d_qkv = nan(tokens, 3 * hidden);
        let (mut d_queries, mut d_keys_values) = (nan(rows.len(), hidden), nan(tokens, 2 * hidden));
        let mut d_table = Buffer::zeros(device, buckets, heads);
        if backward {
            let d_out = part(&self.d_out, rows, 0..hidden);
            let gradients = match query_tokens {
                None => Qkv::Together(d_qkv.view_mut()),
                Some(_) => Qkv::Apart {
                    queries: d_queries.view_mut(),
                    keys_values: d_keys_values.view_mut(),
                },
            };
            // Parameter gradients are accumulated.
            d_table.view_mut().fill(1.0);
            let inputs = AttentionBackward {
                d_out: d_out.view(),
                qkv: operands(),
                out: out.view(),
                log_sum_exp: normalisers.view(),
            };
            let d_bias = self.bias.map(|_| d_table.view_mut());
            attention_backward(&config, inputs, gradients, d_bias);
        }
        let d_table = d_table.view().to_vec().iter().map(|x| x - 1.0).collect();
        let mut results =
            [out.view().to_vec(), normalisers.view().to_vec(), d_qkv.view().to_vec(), d_table];
        if query_tokens.is_some() {
            let spread = |source: &[f32], target: &mut [f32], rows: &[u32], first: usize| {
                let (width, count) = (target.len() / tokens, source.len() / rows.len());
                for (&row, source) in rows.iter().zip(source.chunks(count)) {
                    target[row as usize * width + first..][..count].copy_from_slice(source);
                }
            };
            for (result, width) in results.iter_mut().zip([hidden, heads]) {
                let mut all = vec![0.0; tokens * width];
                spread(result, &mut all, rows, 0);
                *result = all;
            }
            results[2].fill(0.0);
            spread(&d_queries.view().to_vec(), &mut results[2], rows, 0);
            spread(&d_keys_values.view().to_vec(), &mut results[2], &all, hidden);
        }
        results
    }

    /// Dropout factors by the documented index, from the public operation.
    fn mask(&self) -> Vec<f64> {
        let (rows, columns) =
            (self.heads * self.tokens(), self.lengths.iter().copied().max().unwrap_or(0));
        let ones = vec![1.0; rows * columns];
        let Some(config) = self.dropout else { return wide(&ones) };
        let mut mask = Buffer::upload(&devices()[0], rows, columns, &ones);
        dropout(config, mask.view_mut());
        wide(&mask.view().to_vec())
    }

    fn sees(&self, query: usize, key: usize) -> bool {
        let near = self.window.is_none_or(|window| query.abs_diff(key) <= window);
        near && (key <= query || !self.causal)
    }

    /// Calls `f(head, first token, length, probabilities, mask factors)` for each head and
    /// sequence; both matrices are `length x length`. Returns the normalisers.
    fn for_heads(
        &self,
        qkv: &[f64],
        table: &[f64],
        mut f: impl FnMut(usize, usize, usize, &[f64], &[f64]),
    ) -> Vec<f64> {
        let (mask, longest) = (self.mask(), self.lengths.iter().copied().max().unwrap_or(0));
        let mut normalisers = vec![0.0; self.tokens() * self.heads];
        for head in 0..self.heads {
            let mut first = 0;
            for &length in &self.lengths {
                let mut p = vec![0.0; length * length];
                let mut m = vec![0.0; length * length];
                for i in 0..length {
                    let row = &mut p[i * length..][..length];
                    let seen = || (0..length).filter(|&j| self.sees(i, j));
                    for j in seen() {
                        let pair = |d| {
                            qkv[self.at(0, head, first + i, d)]
                                * qkv[self.at(1, head, first + j, d)]
                        };
                        let dot: f64 = (0..self.dim).map(pair).sum();
                        row[j] = dot * self.scale() + self.offset(table, head, i, j);
                        let mask_row = head * self.tokens() + first + i;
                        m[i * length + j] = mask[mask_row * longest + j];
                    }
                    let highest = seen().map(|j| row[j]).fold(f64::NEG_INFINITY, f64::max);
                    seen().for_each(|j| row[j] = (row[j] - highest).exp());
                    let sum: f64 = seen().map(|j| row[j]).sum();
                    seen().for_each(|j| row[j] /= sum);
                    normalisers[(first + i) * self.heads + head] = highest + sum.ln();
                }
                f(head, first, length, &p, &m);
                first += length;
            }
        }
        normalisers
    }

    fn offset(&self, table: &[f64], head: usize, query: usize, key: usize) -> f64 {
        self.bucket(query, key).map_or(0.0, |bucket| table[bucket * self.heads + head])
    }

    /// The bucket of a pair, with a bias.
    fn bucket(&self, query: usize, key: usize) -> Option<usize> {
        let (buckets, max_distance) = self.bias?;
        Some(relative_bucket(key as isize - query as isize, buckets, max_distance))
    }

    /// Index of a query (0), key (1) or value (2).
    pub(super) fn at(&self, part: usize, head: usize, token: usize, d: usize) -> usize {
        token * 3 * self.hidden() + part * self.hidden() + head * self.dim + d
    }

    /// Output and normalisers of the twin.
    pub(super) fn twin(&self, qkv: &[f64], table: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut out = vec![0.0; self.tokens() * self.hidden()];
        let normalisers = self.for_heads(qkv, table, |head, first, length, p, m| {
            for i in 0..length {
                for j in 0..length {
                    let weight = p[i * length + j] * m[i * length + j];
                    for d in 0..self.dim {
                        out[(first + i) * self.hidden() + head * self.dim + d] +=
                            weight * qkv[self.at(2, head, first + j, d)];
                    }
                }
            }
        });
        (out, normalisers)
    }

    /// Gradients of the twin, from the definition of the softmax's Jacobian.
    pub(super) fn twin_backward(&self, qkv: &[f64], table: &[f64], d_out: &[f64]) -> Gradients {
        let mut d_qkv = vec![0.0; qkv.len()];
        let mut d_table = vec![0.0; table.len()];
        self.for_heads(qkv, table, |head, first, length, p, m| {
            for i in 0..length {
                let d_out = &d_out[(first + i) * self.hidden() + head * self.dim..][..self.dim];
                let row = i * length..(i + 1) * length;
                let (p, m) = (&p[row.clone()], &m[row]);
                let d_scores = self.score_gradients(qkv, d_out, (head, first), p, m);
                for j in (0..length).filter(|&j| self.sees(i, j)) {
                    for (d, d_out) in d_out.iter().enumerate() {
                        let (q, k) =
                            (self.at(0, head, first + i, d), self.at(1, head, first + j, d));
                        d_qkv[q] += self.scale() * d_scores[j] * qkv[k];
                        d_qkv[k] += self.scale() * d_scores[j] * qkv[q];
                        d_qkv[self.at(2, head, first + j, d)] += p[j] * m[j] * d_out;
                    }
                    if let Some(bucket) = self.bucket(i, j) {
                        d_table[bucket * self.heads + head] += d_scores[j];
                    }
                }
            }
        });
        Gradients { d_qkv, d_table }
    }

    /// Gradients of the scores of one query, whose probabilities are `p` and mask factors `m`.
    fn score_gradients(
        &self,
        qkv: &[f64],
        d_out: &[f64],
        (head, first): (usize, usize),
        p: &[f64],
        m: &[f64],
    ) -> Vec<f64> {
        let d_p = |j: usize| {
            let value = |d| qkv[self.at(2, head, first + j, d)];
            m[j] * (0..self.dim).map(|d| d_out[d] * value(d)).sum::<f64>()
        };
        let d_p: Vec<f64> = (0..p.len()).map(d_p).collect();
        let mean: f64 = p.iter().zip(&d_p).map(|(p, d)| p * d).sum();
        p.iter().zip(&d_p).map(|(p, d)| p * (d - mean)).collect()
    }

    /// Queries, keys, values and output gradients as operands of the products: queries are rounded
    /// times the factor that makes scores exponents of 2.
    fn operands(&self) -> (Vec<f64>, Vec<f64>) {
        let round = |x: f32| rounded(self.precision, x);
        let factor = self.scale() as f32 * LOG2_E;
        let number = |(index, &x): (usize, &f32)| match index % (3 * self.hidden()) {
            column if column < self.hidden() && self.precision != Precision::Float32 => {
                round(x * factor) / f64::from(factor)
            }
            _ => round(x),
        };
        let qkv = self.qkv.iter().enumerate().map(number).collect();
        (qkv, self.d_out.iter().map(|&x| round(x)).collect())
    }

    /// Bounds of what rounding probabilities and gradients of scores, which the twin does not
    /// round, changes in the output and the gradients. Rounding `x` changes it by at most `u |x| +
    /// t`, with the unit roundoff `u` and half the least subnormal `t`.
    ///
    /// The operation subtracts from the gradients of the probabilities a mean that it takes from
    /// the rounded output, and from the gradient of the output before rounding.
    fn rounding(&self, qkv: &[f64], table: &[f64], d_out: &[f64]) -> (Vec<f64>, Gradients) {
        let error = |x: f64| match self.precision {
            Precision::Float32 => 0.0,
            Precision::BFloat16 => self.precision.unit_roundoff() * x,
            Precision::Float16 => self.precision.unit_roundoff() * x + 2f64.powi(-25),
        };
        let mut out = vec![0.0; d_out.len()];
        let mut d_qkv = vec![0.0; qkv.len()];
        let mut d_table = vec![0.0; table.len()];
        self.for_heads(qkv, table, |head, first, length, p, m| {
            for i in 0..length {
                let place = (first + i) * self.hidden() + head * self.dim;
                let (row, d_out) = (i * length..(i + 1) * length, &d_out[place..][..self.dim]);
                let (p, m) = (&p[row.clone()], &m[row]);
                let seen = || (0..length).filter(|&j| self.sees(i, j));
                let d_scores = self.score_gradients(qkv, d_out, (head, first), p, m);
                let mut mean = 0.0;
                for d in 0..self.dim {
                    let value = |j| f64::abs(qkv[self.at(2, head, first + j, d)]);
                    out[place + d] = seen().map(|j| error(p[j] * m[j]) * value(j)).sum();
                    let size: f64 = seen().map(|j| p[j] * m[j] * value(j)).sum();
                    mean += d_out[d].abs() * out[place + d] + error(d_out[d].abs()) * size;
                }
                for j in seen() {
                    let before = p[j] * mean;
                    let score = before + error(d_scores[j].abs() + before);
                    for (d, d_out) in d_out.iter().enumerate() {
                        let (q, k) =
                            (self.at(0, head, first + i, d), self.at(1, head, first + j, d));
                        d_qkv[q] += self.scale() * score * qkv[k].abs();
                        d_qkv[k] += self.scale() * score * qkv[q].abs();
                        let value = self.at(2, head, first + j, d);
                        d_qkv[value] += error(p[j] * m[j]) * d_out.abs();
                    }
                    if let Some(bucket) = self.bucket(i, j) {
                        d_table[bucket * self.heads + head] += before;
                    }
                }
            }
        });
        (out, Gradients { d_qkv, d_table })
    }

    /// Relative error allowed for a sum over keys of products with probabilities.
    ///
    /// A score of size `s` has an error of about `(D + 2) eps s` and the same for its normaliser;
    /// `e^x` makes an absolute error of the exponent a relative one of the probability.
    fn relative_error(&self, qkv: &[f64]) -> f64 {
        let norm = |part, head, token| {
            (0..self.dim).map(|d| qkv[self.at(part, head, token, d)].powi(2)).sum::<f64>().sqrt()
        };
        let mut largest = 0.0f64;
        for head in 0..self.heads {
            let longest =
                |part| (0..self.tokens()).map(|t| norm(part, head, t)).fold(0.0, f64::max);
            largest = largest.max(longest(0) * longest(1) * self.scale());
        }
        // Rounding errors of sums of n terms grow as sqrt(n); 4 is a margin over their mean.
        4.0 * EPS * (largest + 2.0) * (self.dim as f64).sqrt()
    }

    #[track_caller]
    pub(super) fn check(&self, what: &str) {
        let ((qkv, d_out), table) = (self.operands(), wide(&self.table));
        let (out, normalisers) = self.twin(&qkv, &table);
        let gradients = self.twin_backward(&qkv, &table, &d_out);
        let (rounding, d_rounding) = self.rounding(&qkv, &table, &d_out);
        let relative = self.relative_error(&qkv);
        let largest = |values: &[f64]| values.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        let longest = self.lengths.iter().copied().max().unwrap_or(0) as f64;
        for device in devices() {
            let Case { lengths, heads, dim, precision, .. } = self;
            let what = format!("{what} {lengths:?} {heads} x {dim} in {precision} on {device:?}");
            let got = self.run(device, true);
            let allowed = relative * largest(&qkv);
            assert_close(&got[0], &out, |i| allowed + rounding[i], format!("output, {what}"));
            let allowed = relative * (1.0 + largest(&normalisers));
            assert_close(&got[1], &normalisers, |_| allowed, format!("normalisers, {what}"));
            // Gradients of keys and values are sums over queries too, whose errors are independent.
            let allowed = relative * (largest(&gradients.d_qkv) + 3.0) * longest.sqrt();
            let allowed = |i: usize| allowed + d_rounding.d_qkv[i];
            assert_close(&got[2], &gradients.d_qkv, allowed, format!("d_qkv, {what}"));
            let pairs = self.lengths.iter().map(|l| (l * l) as f64).sum::<f64>();
            let allowed = relative * (largest(&gradients.d_table) + 3.0) * pairs.sqrt();
            let allowed = |i: usize| allowed + d_rounding.d_table[i];
            assert_close(&got[3], &gradients.d_table, allowed, format!("d_bias, {what}"));
        }
    }
}
