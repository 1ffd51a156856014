use super::{Attention, Head};
use crate::parallel::SharedRows;
use crate::{View, ViewMut};

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
/// With less than 4 buckets, or a `max_distance` that the first buckets reach.
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

/// The bucket of each distance from `1 - L` to `L - 1`; empty without a bias.
pub(super) fn buckets_by_distance(config: &Attention<'_>) -> Vec<u32> {
    let Some(bias) = config.bias else { return Vec::new() };
    let reach = config.ragged.longest() as isize;
    let bucket = |distance| relative_bucket(distance, bias.table.rows(), bias.max_distance) as u32;
    (1 - reach..reach).map(bucket).collect()
}

/// The part of `buckets` for distances within a sequence of `length`.
pub(super) fn within(buckets: &[u32], length: usize) -> &[u32] {
    let beyond = buckets.len().div_ceil(2) - length;
    &buckets[beyond..buckets.len() - beyond]
}

/// Writes the offsets of `head` by distance, times `factor`, to `target`.
pub(super) fn by_distance(head: &Head<'_>, buckets: &[u32], factor: f32, target: &mut [f32]) {
    let Some(bias) = head.config.bias else { return };
    let table = bias.table;
    for (target, &bucket) in target.iter_mut().zip(within(buckets, head.length())) {
        *target = table.data[bucket as usize * table.columns + head.head] * factor;
    }
}

/// Adds gradients by distance to the row of bucket gradients of `head`.
pub(super) fn sum_by_bucket(
    head: &Head<'_>,
    buckets: &[u32],
    d_offsets: &[f32],
    target: &SharedRows<'_>,
) {
    let row = head.sequence * head.config.heads + head.head;
    let count = head.config.bias.map_or(0, |bias| bias.table.rows());
    // SAFETY: the row belongs to this work item alone.
    let target = unsafe { target.part(row, 0..count) };
    for (d_offset, &bucket) in d_offsets.iter().zip(within(buckets, head.length())) {
        target[bucket as usize] += d_offset;
    }
}

/// Bucket gradients of each head of each sequence.
pub(super) struct Partials {
    rows: usize,
    buckets: usize,
    sums: Vec<f32>,
}

impl Partials {
    /// Zeros; no row without `d_bias`.
    pub(super) fn new(config: &Attention<'_>, d_bias: Option<&ViewMut<'_>>) -> Partials {
        let Some(d_bias) = d_bias else {
            return Partials { rows: 0, buckets: 0, sums: Vec::new() };
        };
        let table = config.bias.expect("a gradient of the bias without a bias").table;
        assert_eq!((d_bias.rows, d_bias.columns), (table.rows, table.columns), "d_bias");
        let rows = config.ragged.sequences() * config.heads;
        Partials { rows, buckets: table.rows, sums: vec![0.0; rows * table.rows] }
    }

    /// A handle for all threads, each writing its own rows.
    pub(super) fn shared(&mut self) -> Option<SharedRows<'_>> {
        let Partials { rows, buckets, sums } = self;
        (*rows > 0).then(|| SharedRows::of_slice(sums, *rows, *buckets))
    }

    /// Adds all rows to `d_bias`, sequence by sequence.
    pub(super) fn reduce(&self, heads: usize, d_bias: ViewMut<'_>) {
        for head in 0..heads {
            for bucket in 0..self.buckets {
                let rows = (head..self.rows).step_by(heads);
                let sum: f64 =
                    rows.map(|row| f64::from(self.sums[row * self.buckets + bucket])).sum();
                d_bias.data[bucket * heads + head] += sum as f32;
            }
        }
    }
}
