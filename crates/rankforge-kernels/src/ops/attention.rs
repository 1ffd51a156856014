use crate::ops::Dropout;
use crate::{Ragged, View, ViewMut};

/// How queries see keys within their own sequence.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Lengths of the sequences.
    pub ragged: &'a Ragged,
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
    /// On the probabilities; index is `(head * T + query token) * L + key position`, `L` the longest sequence.
    pub dropout: Option<Dropout>,
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
pub fn relative_bucket(distance: isize, buckets: usize, max_distance: usize) -> usize {
    unimplemented!()
}

/// `out = softmax(q kᵀ * scale + bias) v`, per sequence and head, without padding.
///
/// Never holds more scores than one tile of one head per thread. `log_sum_exp` keeps the softmax
/// normaliser of each query and head for the backward pass.
///
/// # Shapes
/// `qkv`: `T x 3H`, queries, keys, values, each head by head; `out`: `T x H`; `log_sum_exp`: `T x A`.
///
/// # Paper
/// Dao et al. 2022, arXiv:2205.14135, for the tiling and the recomputed backward.
pub fn attention(
    config: &Attention<'_>,
    qkv: View<'_>,
    out: ViewMut<'_>,
    log_sum_exp: ViewMut<'_>,
) {
    unimplemented!()
}

/// Backward of [`attention`]; needs its input, output and normalisers, and recomputes the
/// probabilities. `d_bias` (`buckets x A`) is accumulated.
///
/// # Shapes
/// `d_out`, `out`: `T x H`; `qkv`, `d_qkv`: `T x 3H`; `log_sum_exp`: `T x A`.
pub fn attention_backward(
    config: &Attention<'_>,
    d_out: View<'_>,
    qkv: View<'_>,
    out: View<'_>,
    log_sum_exp: View<'_>,
    d_qkv: ViewMut<'_>,
    d_bias: Option<ViewMut<'_>>,
) {
    unimplemented!()
}
