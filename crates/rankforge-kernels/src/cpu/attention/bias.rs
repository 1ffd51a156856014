use crate::cpu::attention::head::{Config, Head};
use crate::cpu::matrix::{Matrix, MatrixMut};
use crate::cpu::parallel::SharedRows;
use crate::settings::attention::{BiasOf, relative_bucket};

/// The table of score offsets, and the bucket of each distance.
pub(super) struct Bias<'a> {
    /// `buckets x A`.
    table: Matrix<'a>,
    /// The bucket of each distance `key - query` from `1 - L` to `L - 1`.
    buckets: Vec<u32>,
}

impl<'a> Bias<'a> {
    pub(super) fn of(config: &Config<'a>) -> Option<Bias<'a>> {
        let BiasOf { table, max_distance } = config.bias?;
        let reach = config.sequences.longest() as isize;
        let bucket = |distance| relative_bucket(distance, table.rows, max_distance) as u32;
        Some(Bias { table, buckets: (1 - reach..reach).map(bucket).collect() })
    }

    /// The buckets of the distances within a sequence of `length`.
    fn within(&self, length: usize) -> &[u32] {
        let beyond = self.buckets.len().div_ceil(2) - length;
        &self.buckets[beyond..self.buckets.len() - beyond]
    }

    /// Writes the offsets of `head` by distance, times `factor`, to `target`.
    pub(super) fn by_distance(&self, head: &Head<'_>, factor: f32, target: &mut [f32]) {
        for (target, &bucket) in target.iter_mut().zip(self.within(head.length())) {
            *target = self.table.row(bucket as usize)[head.head] * factor;
        }
    }

    /// Adds gradients by distance to the row of bucket gradients of `head`.
    pub(super) fn sum_by_bucket(
        &self,
        head: &Head<'_>,
        d_offsets: &[f32],
        target: &SharedRows<'_>,
    ) {
        let row = head.sequence * head.config.heads + head.head;
        // SAFETY: the row belongs to this work item alone.
        let target = unsafe { target.part(row, 0..self.table.rows) };
        for (d_offset, &bucket) in d_offsets.iter().zip(self.within(head.length())) {
            target[bucket as usize] += d_offset;
        }
    }
}

/// Bucket gradients of each head of each sequence.
pub(super) struct Partials {
    rows: usize,
    buckets: usize,
    sums: Vec<f32>,
}

impl Partials {
    /// Zeros; no rows without `d_bias`.
    pub(super) fn new(config: &Config<'_>, d_bias: Option<&MatrixMut<'_>>) -> Partials {
        let Some(d_bias) = d_bias else {
            return Partials { rows: 0, buckets: 0, sums: Vec::new() };
        };
        let rows = config.sequences.count() * config.heads;
        Partials { rows, buckets: d_bias.rows, sums: vec![0.0; rows * d_bias.rows] }
    }

    /// A handle for all threads; each writes its own rows.
    pub(super) fn shared(&mut self) -> Option<SharedRows<'_>> {
        let Partials { rows, buckets, sums } = self;
        (*rows > 0).then(|| SharedRows::of_slice(sums, *rows, *buckets))
    }

    /// Adds all rows to `d_bias`, sequence by sequence.
    pub(super) fn reduce(&self, heads: usize, d_bias: MatrixMut<'_>) {
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
