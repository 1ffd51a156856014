use crate::reference::dropout::factor;
use crate::reference::matrix::{Matrix, MatrixMut, Sequences};
use crate::reference::memory::Integers;
use crate::reference::rounding::operand;
use crate::settings::attention::{AttentionBackward, AttentionOf, BiasOf, Qkv, relative_bucket};
use crate::settings::dropout::Dropout;
use std::f64::consts::{LN_2, LOG2_E};
use std::ops::Range;

/// The settings of attention, with memory of the reference device.
pub(crate) type Config<'a> = AttentionOf<Sequences<'a>, &'a Integers, Matrix<'a>>;

/// One head of one sequence, with its operands rounded: queries times `scale log2 e`, so that the
/// scores are exponents of 2, keys and values.
struct Head {
    head: usize,
    dim: usize,
    /// Tokens of the sequence.
    tokens: Range<usize>,
    /// Positions of the queries in the sequence, and the row of the first among all queries.
    queries: Range<usize>,
    first_row: usize,
    /// Rows of `dim` elements.
    q: Vec<f64>,
    k: Vec<f64>,
    v: Vec<f64>,
}

impl Head {
    /// The row of the query at a position.
    fn row_of(&self, query: usize) -> usize {
        self.first_row + query - self.queries.start
    }
}

impl<'a> Config<'a> {
    /// Every head of every sequence that has tokens.
    fn each_head(&self, qkv: &Qkv<Matrix<'a>>, hidden: usize) -> impl Iterator<Item = Head> {
        let sequences =
            (0..self.sequences.count()).filter(|&s| !self.sequences.range(s).is_empty());
        let heads = self.heads;
        sequences.flat_map(move |sequence| {
            (0..heads).map(move |head| self.head(qkv, hidden, sequence, head))
        })
    }

    fn head(&self, qkv: &Qkv<Matrix<'a>>, hidden: usize, sequence: usize, head: usize) -> Head {
        let (tokens, dim) = (self.sequences.range(sequence), hidden / self.heads);
        let (queries, first_row) = match self.queries {
            None => (0..tokens.len(), tokens.start),
            Some(queries) => {
                let position = queries.at(sequence) - tokens.start;
                (position..position + 1, sequence)
            }
        };
        // Each matrix, and the column where its first head begins.
        let [(q, q_start), (k, k_start), (v, v_start)] = match *qkv {
            Qkv::Together(all) => [(all, 0), (all, hidden), (all, 2 * hidden)],
            Qkv::Apart { queries, keys_values } => {
                [(queries, 0), (keys_values, 0), (keys_values, hidden)]
            }
        };
        let rows = |x: Matrix<'_>, rows: Range<usize>, start: usize, factor: f32| -> Vec<f64> {
            let columns = start + head * dim..start + (head + 1) * dim;
            let elements = rows.flat_map(|row| columns.clone().map(move |column| (row, column)));
            let round =
                |(row, column)| operand(self.precision, f64::from(x.load(row, column) * factor));
            elements.map(round).collect()
        };
        Head {
            head,
            dim,
            q: rows(q, first_row..first_row + queries.len(), q_start, self.query_factor()),
            k: rows(k, tokens.clone(), k_start, 1.0),
            v: rows(v, tokens.clone(), v_start, 1.0),
            tokens,
            queries,
            first_row,
        }
    }

    /// The factor on queries, in `f32` as every device takes it.
    fn query_factor(&self) -> f32 {
        self.scale * std::f32::consts::LOG2_E
    }

    /// The score of a pair of positions, in base 2; `None` where the query does not attend to the
    /// key.
    fn score(&self, head: &Head, query: usize, key: usize) -> Option<f64> {
        let near = self.window.is_none_or(|window| query.abs_diff(key) <= window);
        if !near || self.causal && key > query {
            return None;
        }
        let row = (query - head.queries.start) * head.dim;
        let products = (0..head.dim).map(|d| head.q[row + d] * head.k[key * head.dim + d]);
        let offset = self
            .bucket(query, key)
            .map_or(0.0, |(table, bucket)| table.at(bucket, head.head) * LOG2_E);
        Some(products.sum::<f64>() + offset)
    }

    /// The row of the bias for a pair of positions.
    fn bucket(&self, query: usize, key: usize) -> Option<(Matrix<'a>, usize)> {
        let BiasOf { table, max_distance } = self.bias?;
        Some((table, relative_bucket(key as isize - query as isize, table.rows, max_distance)))
    }

    /// The dropout factor of a pair of positions.
    fn mask(&self, head: &Head, query: usize, key: usize) -> f64 {
        let row = head.head * self.sequences.tokens() + head.tokens.start + query;
        let index = row * self.sequences.longest() + key;
        self.dropout.map_or(1.0, |dropout: Dropout| factor(dropout, index as u64))
    }
}

/// `out = Σⱼ pⱼ vⱼ` with `pⱼ = 2^sⱼ / Σⱼ 2^sⱼ` over the keys that the query attends to, and
/// `log_sum_exp = ln Σⱼ 2^sⱼ`. What is rounded to the precision is `2^(sⱼ - max s)` times its
/// dropout factor; the sum in the denominator has neither rounding nor dropout.
pub(crate) fn attention(
    config: &Config<'_>,
    qkv: Qkv<Matrix<'_>>,
    mut out: MatrixMut<'_>,
    mut log_sum_exp: MatrixMut<'_>,
) {
    let precision = config.precision;
    for head in config.each_head(&qkv, out.columns) {
        for query in head.queries.clone() {
            let row = head.row_of(query);
            let keys = 0..head.tokens.len();
            let seen: Vec<(usize, f64)> =
                keys.filter_map(|key| Some((key, config.score(&head, query, key)?))).collect();
            let highest = seen.iter().map(|&(_, s)| s).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = seen.iter().map(|&(_, s)| (s - highest).exp2()).sum();
            log_sum_exp.put(row, head.head, (highest + sum.log2()) * LN_2);
            for d in 0..head.dim {
                let mixed = seen.iter().map(|&(key, s)| {
                    let p =
                        operand(precision, (s - highest).exp2() * config.mask(&head, query, key));
                    p * head.v[key * head.dim + d]
                });
                out.put(row, head.head * head.dim + d, mixed.sum::<f64>() / sum);
            }
        }
    }
}

/// With `pⱼ` the probabilities, `mⱼ` the dropout factors, `g` the gradient of the output `o`:
/// `d_sⱼ = pⱼ (mⱼ g·vⱼ - g·o)`, `d_q = scale Σⱼ d_sⱼ kⱼ`, `d_kⱼ = scale Σ d_sⱼ q`,
/// `d_vⱼ = Σ pⱼ mⱼ g`, sums of `d_kⱼ` and `d_vⱼ` over the queries; the gradient of a bucket is the
/// sum of its `d_sⱼ`. Rounded to the precision are `g` (but not in `g·o`), `pⱼ mⱼ` and `d_sⱼ` (but
/// not for the bucket).
pub(crate) fn attention_backward(
    config: &Config<'_>,
    inputs: AttentionBackward<Matrix<'_>>,
    mut d_qkv: Qkv<MatrixMut<'_>>,
    d_bias: Option<MatrixMut<'_>>,
) {
    let hidden = inputs.out.columns;
    let mut d_buckets = vec![0.0; config.bias.map_or(0, |bias| bias.table.rows * config.heads)];
    for head in config.each_head(&inputs.qkv, hidden) {
        let (dim, start) = (head.dim, head.head * head.dim);
        let size = head.tokens.len() * dim;
        let mut of_keys = KeyGradients { d_k: vec![0.0; size], d_v: vec![0.0; size] };
        for query in head.queries.clone() {
            let row = head.row_of(query);
            let d_q = of_query(config, &inputs, &head, query, &mut of_keys, &mut d_buckets);
            let target = match &mut d_qkv {
                Qkv::Together(all) => all,
                Qkv::Apart { queries, .. } => queries,
            };
            for (d, d_q) in d_q.into_iter().enumerate() {
                target.put(row, start + d, d_q);
            }
        }
        let (target, keys) = match &mut d_qkv {
            Qkv::Together(all) => (all, hidden),
            Qkv::Apart { keys_values, .. } => (keys_values, 0),
        };
        for (key, token) in head.tokens.clone().enumerate() {
            for d in 0..dim {
                target.put(token, keys + start + d, of_keys.d_k[key * dim + d]);
                target.put(token, keys + hidden + start + d, of_keys.d_v[key * dim + d]);
            }
        }
    }
    if let Some(mut d_bias) = d_bias {
        for (index, (bucket, head)) in d_bias.places().enumerate() {
            d_bias.add(bucket, head, d_buckets[index]);
        }
    }
}

/// Gradients of the keys and values of one head, rows of its dimension.
struct KeyGradients {
    d_k: Vec<f64>,
    d_v: Vec<f64>,
}

/// The gradient of one query; adds its shares of those of keys, values and buckets.
fn of_query(
    config: &Config<'_>,
    inputs: &AttentionBackward<Matrix<'_>>,
    head: &Head,
    query: usize,
    of_keys: &mut KeyGradients,
    d_buckets: &mut [f64],
) -> Vec<f64> {
    let (dim, start, precision) = (head.dim, head.head * head.dim, config.precision);
    let row = head.row_of(query);
    let q = &head.q[(query - head.queries.start) * dim..][..dim];
    let raw = |d: usize| inputs.d_out.at(row, start + d);
    let g: Vec<f64> = (0..dim).map(|d| operand(precision, raw(d))).collect();
    let delta: f64 = (0..dim).map(|d| raw(d) * inputs.out.at(row, start + d)).sum();
    let normaliser = inputs.log_sum_exp.at(row, head.head) * LOG2_E;
    let mut d_q = vec![0.0; dim];
    for key in 0..head.tokens.len() {
        let Some(score) = config.score(head, query, key) else { continue };
        let (p, mask) = ((score - normaliser).exp2(), config.mask(head, query, key));
        let rows = key * dim..(key + 1) * dim;
        let (k, v) = (&head.k[rows.clone()], &head.v[rows.clone()]);
        let d_p = mask * g.iter().zip(v).map(|(g, v)| g * v).sum::<f64>();
        let d_score = p * (d_p - delta);
        if let Some((_, bucket)) = config.bucket(query, key) {
            d_buckets[bucket * config.heads + head.head] += d_score;
        }
        let (p, d_score) = (operand(precision, p * mask), operand(precision, d_score));
        for d in 0..dim {
            d_q[d] += d_score * k[d] * f64::from(config.scale);
            // The queries carry `scale log2 e`.
            of_keys.d_k[rows.start + d] += d_score * q[d] * LN_2;
            of_keys.d_v[rows.start + d] += p * g[d];
        }
    }
    d_q
}
