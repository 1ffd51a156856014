//! Ragged softmax attention.

use crate::device::Kind;
use crate::indices::Indices;
use crate::ops::dropout::Dropout;
use crate::precision::Precision;
use crate::ragged::Ragged;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// How queries see keys within their own sequence.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Lengths of the sequences.
    pub ragged: &'a Ragged,
    /// Query tokens, one per sequence, `B`; `None` means every token.
    pub queries: Option<&'a Indices>,
    /// Number of heads, `A`; the head dimension is `H / A`.
    pub heads: usize,
    /// Factor on the scores, usually `1 / sqrt(D)`.
    pub scale: f32,
    /// Keys with `|query - key| <= window` are seen; `None` is all of them.
    pub window: Option<usize>,
    /// Keys after the query are not seen.
    pub causal: bool,
    /// Added to the scaled scores.
    pub bias: Option<RelativeBias<'a>>,
    /// On the probabilities; the index is `(head * T + query token) * L + key position`, `L` the
    /// longest sequence.
    pub dropout: Option<Dropout>,
    /// To which the operands of the products are rounded: queries (times `scale * log2 e`), keys,
    /// values, probabilities (relative to the largest of the query) and gradients. Sums and softmax
    /// are in `f32`.
    pub precision: Precision,
}

/// Queries, keys and values, each head by head, or the gradients of them.
pub enum Qkv<V> {
    /// Of all tokens, `T x 3H`.
    Together(V),
    /// Of the query tokens, `B x H`, and keys and values of all tokens, `T x 2H`.
    Apart {
        /// Queries.
        queries: V,
        /// Keys, then values.
        keys_values: V,
    },
}

/// `out = softmax(q kᵀ * scale + bias) v`, per sequence and head, without padding.
///
/// Never holds more scores than one tile of one head per thread. `log_sum_exp` keeps the softmax
/// normaliser of each query and head for the backward pass.
///
/// # Shapes
/// `qkv`: [`Qkv::Together`] without query tokens, [`Qkv::Apart`] with them; `out`: `T x H`;
/// `log_sum_exp`: `T x A`; both `B` rows with query tokens.
///
/// # Panics
/// When the shapes differ from these, or a query token is not in its sequence.
///
/// # Paper
/// Dao et al. 2022, arXiv:2205.14135, for the tiling and the recomputed backward.
pub fn attention(
    config: &Attention<'_>,
    qkv: Qkv<View<'_>>,
    out: ViewMut<'_>,
    log_sum_exp: ViewMut<'_>,
) {
    qkv.check(config, out.columns(), View::expect_shape);
    check(config, out.as_view(), log_sum_exp.as_view());
    let device = out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let table = config.bias.map(|bias| bias.table.host(device));
            let qkv = qkv.map(|view| view.host(device));
            let (out, log_sum_exp) = (out.host(device), log_sum_exp.host(device));
            cpu::attention::attention(cpu, config, table, qkv, out, log_sum_exp);
        }
        Kind::Reference(_) => {
            let table = config.bias.map(|bias| bias.table.reference(device));
            let qkv = qkv.map(|view| view.reference(device));
            let (out, log_sum_exp) = (out.reference(device), log_sum_exp.reference(device));
            let scores = reference::attention::Scores::new(config, table, device);
            reference::attention::attention(&scores, qkv, out, log_sum_exp);
        }
    }
}

/// Backward of [`attention`]; needs its input, output and normalisers, and recomputes the
/// probabilities. `d_bias` (`buckets x A`) is accumulated.
///
/// # Shapes
/// As [`attention`]; `d_out` like `out`, `d_qkv` like `qkv`.
///
/// # Panics
/// As [`attention`], and when `d_bias` is asked for without a bias.
pub fn attention_backward(
    config: &Attention<'_>,
    d_out: View<'_>,
    qkv: Qkv<View<'_>>,
    out: View<'_>,
    log_sum_exp: View<'_>,
    d_qkv: Qkv<ViewMut<'_>>,
    d_bias: Option<ViewMut<'_>>,
) {
    qkv.check(config, out.columns(), View::expect_shape);
    d_qkv.check(config, out.columns(), ViewMut::expect_shape);
    check(config, out, log_sum_exp);
    d_out.expect_shape("d_out", out.rows(), out.columns());
    if let Some(d_bias) = &d_bias {
        let table = config.bias.expect("a gradient of the bias without a bias").table;
        d_bias.expect_shape("d_bias", table.rows(), table.columns());
    }
    let device = out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let table = config.bias.map(|bias| bias.table.host(device));
            let saved = cpu::attention::Saved {
                d_out: d_out.host(device),
                qkv: qkv.map(|view| view.host(device)),
                out: out.host(device),
                log_sum_exp: log_sum_exp.host(device),
            };
            let d_qkv = d_qkv.map(|view| view.host(device));
            let d_bias = d_bias.map(|d_bias| d_bias.host(device));
            cpu::attention::attention_backward(cpu, config, table, saved, d_qkv, d_bias);
        }
        Kind::Reference(_) => {
            let table = config.bias.map(|bias| bias.table.reference(device));
            let saved = reference::attention::Saved {
                d_out: d_out.reference(device),
                qkv: qkv.map(|view| view.reference(device)),
                out: out.reference(device),
                log_sum_exp: log_sum_exp.reference(device),
            };
            let d_qkv = d_qkv.map(|view| view.reference(device));
            let d_bias = d_bias.map(|d_bias| d_bias.reference(device));
            let scores = reference::attention::Scores::new(config, table, device);
            reference::attention::attention_backward(&scores, saved, d_qkv, d_bias);
        }
    }
}

/// Learned score offsets by bucket of relative position, as T5 and MPNet have them
/// (Raffel et al. 2020, arXiv:1910.10683, section 2.1).
#[derive(Clone, Copy)]
pub struct RelativeBias<'a> {
    /// `buckets x A`.
    pub table: View<'a>,
    /// Distances from here on share the last bucket.
    pub max_distance: usize,
}

/// The bucket of `key - query`, both directions, as MPNet computes it.
///
/// Keys before the query and the query itself use the lower half of the buckets, keys after it the
/// upper half. Within a half, the first distances have a bucket each, the others share the rest by
/// the logarithm of the distance.
///
/// # Panics
/// With fewer than 4 buckets, or a `max_distance` that the exact buckets reach.
pub fn relative_bucket(distance: isize, buckets: usize, max_distance: usize) -> usize {
    let half = buckets / 2;
    let exact = half / 2;
    assert!(0 < exact && exact < max_distance, "{buckets} buckets up to {max_distance}");
    let offset = if distance > 0 { half } else { 0 };
    let distance = distance.unsigned_abs();
    if distance < exact {
        return offset + distance;
    }
    // In f32 step by step, as transformers does: near the borders the roundings decide.
    let logarithm = f64::from(distance as f32 / exact as f32).ln() as f32;
    let span = (max_distance as f64 / exact as f64).ln() as f32;
    let step = (logarithm / span * (half - exact) as f32) as usize;
    offset + (exact + step).min(half - 1)
}

impl Attention<'_> {
    /// Rows of queries, of the output and of the normalisers.
    pub(crate) fn rows(&self) -> usize {
        self.queries.map_or(self.ragged.tokens(), Indices::len)
    }

    /// The bucket of each distance `key - query` from `1 - L` to `L - 1`; empty without a bias.
    pub(crate) fn buckets_by_distance(&self) -> Vec<u32> {
        let Some(bias) = self.bias else { return Vec::new() };
        let reach = self.ragged.longest() as isize;
        let buckets = bias.table.rows();
        let bucket = |distance| relative_bucket(distance, buckets, bias.max_distance) as u32;
        (1 - reach..reach).map(bucket).collect()
    }
}

impl<V> Qkv<V> {
    pub(crate) fn map<W>(self, f: impl Fn(V) -> W) -> Qkv<W> {
        match self {
            Qkv::Together(all) => Qkv::Together(f(all)),
            Qkv::Apart { queries, keys_values } => {
                Qkv::Apart { queries: f(queries), keys_values: f(keys_values) }
            }
        }
    }

    /// Asserts the shapes for `hidden` columns of all heads.
    #[track_caller]
    fn check(
        &self,
        config: &Attention<'_>,
        hidden: usize,
        expect: impl Fn(&V, &str, usize, usize),
    ) {
        let (tokens, rows) = (config.ragged.tokens(), config.rows());
        match self {
            Qkv::Together(all) => {
                assert!(config.queries.is_none(), "query tokens need queries apart");
                expect(all, "queries, keys and values", tokens, 3 * hidden);
            }
            Qkv::Apart { queries, keys_values } => {
                expect(queries, "queries", rows, hidden);
                expect(keys_values, "keys and values", tokens, 2 * hidden);
            }
        }
    }
}

/// Asserts the shapes of output and normalisers, the table's, and where the query tokens are.
#[track_caller]
fn check(config: &Attention<'_>, out: View<'_>, log_sum_exp: View<'_>) {
    let (rows, heads, hidden) = (config.rows(), config.heads, out.columns());
    assert!(heads > 0 && hidden.is_multiple_of(heads), "{hidden} columns for {heads} heads");
    out.expect_shape("out", rows, hidden);
    log_sum_exp.expect_shape("log_sum_exp", rows, heads);
    if let Some(queries) = config.queries {
        let sequences = config.ragged.sequences();
        assert_eq!(queries.len(), sequences, "query tokens, one per sequence");
        for (sequence, &token) in queries.values().iter().enumerate() {
            let tokens = config.ragged.range(sequence);
            let inside = tokens.contains(&(token as usize));
            assert!(inside, "query token {token} is not in its sequence, {tokens:?}");
        }
    }
    if let Some(bias) = config.bias {
        assert_eq!(bias.table.columns(), heads, "columns of the relative bias, one per head");
    }
}
