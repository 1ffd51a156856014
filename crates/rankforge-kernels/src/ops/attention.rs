//! Ragged softmax attention.

use crate::device::{Device, Kind};
use crate::indices::Indices;
use crate::precision::Precision;
use crate::ragged::Ragged;
use crate::settings::attention::{AttentionBackward, AttentionOf, BiasOf, Qkv};
use crate::settings::dropout::Dropout;
use crate::view::{View, ViewMut};
use crate::{cpu, reference};

/// What attention computes: its sequences, heads, mask, bias, dropout and precision.
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
    /// Half-width of a local window: a query attends to keys with `|query - key| <= window`; `None`
    /// means every key of the sequence.
    pub window: Option<usize>,
    /// A query does not attend to keys after it.
    pub causal: bool,
    /// Offsets that are added to the scaled scores.
    pub bias: Option<RelativeBias<'a>>,
    /// Dropout of the probabilities; the index of one is `(head * T + query token) * L + key
    /// position`.
    pub dropout: Option<Dropout>,
    /// What the operands of the products are rounded to: queries (times `scale * log2 e`), keys,
    /// values, probabilities (forward, relative to the largest of the query) and gradients. Sums
    /// and softmax are in `f32`.
    pub precision: Precision,
}

/// `out = softmax(q kᵀ * scale + bias) v`, per sequence and head, without padding.
///
/// Only a tile of scores per thread is ever stored. `log_sum_exp` receives the normaliser of the
/// softmax of each query and head, for the backward pass.
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
    check_qkv(&qkv, config, out.columns(), View::expect_shape);
    check(config, out.as_view(), log_sum_exp.as_view());
    let device = out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let (config, qkv) = (config.host(device), qkv.map(|view| view.host(device)));
            let (out, log_sum_exp) = (out.host(device), log_sum_exp.host(device));
            cpu::attention::attention(cpu, &config, qkv, out, log_sum_exp);
        }
        Kind::Reference(_) => {
            let (config, qkv) = (config.reference(device), qkv.map(|view| view.reference(device)));
            let (out, log_sum_exp) = (out.reference(device), log_sum_exp.reference(device));
            reference::attention::attention(&config, qkv, out, log_sum_exp);
        }
    }
}

/// Backward of [`attention`]; needs its input, output and `log_sum_exp`, and recomputes the
/// probabilities. `d_qkv` is overwritten, `d_bias` is accumulated.
///
/// # Shapes
/// `inputs` as [`AttentionBackward`] says; `d_qkv` like `qkv`; `d_bias`: `buckets x A`.
///
/// # Panics
/// As [`attention`], and when `d_bias` is given without a bias.
pub fn attention_backward(
    config: &Attention<'_>,
    inputs: AttentionBackward<View<'_>>,
    d_qkv: Qkv<ViewMut<'_>>,
    d_bias: Option<ViewMut<'_>>,
) {
    let AttentionBackward { d_out, qkv, out, log_sum_exp } = &inputs;
    check_qkv(qkv, config, out.columns(), View::expect_shape);
    check_qkv(&d_qkv, config, out.columns(), ViewMut::expect_shape);
    check(config, *out, *log_sum_exp);
    d_out.expect_shape("d_out", out.rows(), out.columns());
    if let Some(d_bias) = &d_bias {
        let table = config.bias.expect("a gradient of the bias without a bias").table;
        d_bias.expect_shape("d_bias", table.rows(), table.columns());
    }
    let device = out.device();
    match device.kind() {
        Kind::Cpu(cpu) => {
            let inputs = inputs.map(|view| view.host(device));
            let d_qkv = d_qkv.map(|view| view.host(device));
            let d_bias = d_bias.map(|d_bias| d_bias.host(device));
            cpu::attention::attention_backward(cpu, &config.host(device), inputs, d_qkv, d_bias);
        }
        Kind::Reference(_) => {
            let inputs = inputs.map(|view| view.reference(device));
            let d_qkv = d_qkv.map(|view| view.reference(device));
            let d_bias = d_bias.map(|d_bias| d_bias.reference(device));
            let config = config.reference(device);
            reference::attention::attention_backward(&config, inputs, d_qkv, d_bias);
        }
    }
}

/// Learned score offsets by bucket of relative position, as in T5 and MPNet (Raffel et al. 2020,
/// arXiv:1910.10683, section 2.1).
#[derive(Clone, Copy)]
pub struct RelativeBias<'a> {
    /// `buckets x A`.
    pub table: View<'a>,
    /// Distances from here on share the last bucket.
    pub max_distance: usize,
}

impl<'a> Attention<'a> {
    /// Rows of queries, of the output and of the normalisers.
    fn rows(&self) -> usize {
        self.queries.map_or(self.ragged.tokens(), Indices::len)
    }

    /// The settings as CPU kernels take them.
    #[track_caller]
    fn host(&self, device: &Device) -> cpu::attention::Config<'a> {
        self.on(self.ragged.host(device), self.queries.map(|values| values.host(device)), |table| {
            table.host(device)
        })
    }

    /// The settings as the reference device takes them.
    #[track_caller]
    fn reference(&self, device: &Device) -> reference::attention::Config<'a> {
        let queries = self.queries.map(|queries| queries.reference(device));
        self.on(self.ragged.reference(device), queries, |table| table.reference(device))
    }

    fn on<S, Q, V>(
        &self,
        sequences: S,
        queries: Option<Q>,
        view: impl Fn(View<'a>) -> V,
    ) -> AttentionOf<S, Q, V> {
        let bias = |bias: RelativeBias<'a>| BiasOf {
            table: view(bias.table),
            max_distance: bias.max_distance,
        };
        AttentionOf {
            sequences,
            queries,
            heads: self.heads,
            scale: self.scale,
            window: self.window,
            causal: self.causal,
            bias: self.bias.map(bias),
            dropout: self.dropout,
            precision: self.precision,
        }
    }
}

/// Asserts the shapes of queries, keys and values for `hidden` columns of all heads.
#[track_caller]
fn check_qkv<V>(
    qkv: &Qkv<V>,
    config: &Attention<'_>,
    hidden: usize,
    expect: impl Fn(&V, &str, usize, usize),
) {
    let (tokens, rows) = (config.ragged.tokens(), config.rows());
    match qkv {
        Qkv::Together(all) => {
            assert!(config.queries.is_none(), "query tokens need Qkv::Apart");
            expect(all, "queries, keys and values", tokens, 3 * hidden);
        }
        Qkv::Apart { queries, keys_values } => {
            expect(queries, "queries", rows, hidden);
            expect(keys_values, "keys and values", tokens, 2 * hidden);
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
