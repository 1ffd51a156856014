use crate::precision::Precision;
use crate::settings::dropout::Dropout;

/// [`Attention`](crate::ops::Attention) as a device takes it: `S` are its sequences, `Q` its
/// indices, `V` its matrices.
pub(crate) struct AttentionOf<S, Q, V> {
    pub(crate) sequences: S,
    pub(crate) queries: Option<Q>,
    pub(crate) heads: usize,
    pub(crate) scale: f32,
    pub(crate) window: Option<usize>,
    pub(crate) causal: bool,
    pub(crate) bias: Option<BiasOf<V>>,
    pub(crate) dropout: Option<Dropout>,
    pub(crate) precision: Precision,
}

/// [`RelativeBias`](crate::ops::RelativeBias) as a device takes it.
#[derive(Clone, Copy)]
pub(crate) struct BiasOf<V> {
    pub(crate) table: V,
    pub(crate) max_distance: usize,
}

/// Queries, keys and values, or their gradients; the columns of each are those of all heads.
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

impl<V> Qkv<V> {
    pub(crate) fn map<W>(self, f: impl Fn(V) -> W) -> Qkv<W> {
        match self {
            Qkv::Together(all) => Qkv::Together(f(all)),
            Qkv::Apart { queries, keys_values } => {
                Qkv::Apart { queries: f(queries), keys_values: f(keys_values) }
            }
        }
    }
}

/// What [`attention_backward`](crate::ops::attention_backward) reads: the gradient of the output,
/// and operands and results of the forward pass.
///
/// # Shapes
/// As those of [`attention`](crate::ops::attention); `d_out` like `out`.
pub struct AttentionBackward<V> {
    /// Gradient of the output.
    pub d_out: V,
    /// Input of the forward pass.
    pub qkv: Qkv<V>,
    /// Output of the forward pass.
    pub out: V,
    /// Normalisers that the forward pass computed.
    pub log_sum_exp: V,
}

impl<V> AttentionBackward<V> {
    pub(crate) fn map<W>(self, f: impl Fn(V) -> W) -> AttentionBackward<W> {
        AttentionBackward {
            d_out: f(self.d_out),
            qkv: self.qkv.map(&f),
            out: f(self.out),
            log_sum_exp: f(self.log_sum_exp),
        }
    }
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
    // In f32 step by step, as transformers does: near a border between buckets, rounding decides.
    let logarithm = f64::from(distance as f32 / exact as f32).ln() as f32;
    let span = (max_distance as f64 / exact as f64).ln() as f32;
    let step = (logarithm / span * (half - exact) as f32) as usize;
    offset + (exact + step).min(half - 1)
}
