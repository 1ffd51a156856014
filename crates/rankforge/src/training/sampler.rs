use crate::arguments::BatchSampler;
use crate::error::Error;
use crate::training::dataset::Dataset;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use rankforge_data::Value;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// Number of further passes over the rows when the first pass gives too few batches.
const RESAMPLING_PASSES: usize = 2;

/// Draws the batches of each epoch from one training set.
#[derive(Clone, Debug)]
pub struct Sampler {
    /// Name of the set in messages.
    set: Arc<str>,
    rows: usize,
    batch_size: usize,
    drop_last: bool,
    seed: u64,
    values: Option<RowValues>,
}

/// The batches of an epoch, as row indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochBatches {
    /// The batches, in order.
    pub batches: Vec<Vec<usize>>,
    /// Warning for the user when batches are missing or rows are drawn again.
    pub warning: Option<String>,
}

impl Sampler {
    /// A sampler over the rows of a set. `NO_DUPLICATES` compares the texts only, not the labels.
    ///
    /// # Errors
    /// When a row cannot be read.
    ///
    /// # Panics
    /// When `batch_size` is 0.
    pub fn new(
        kind: BatchSampler,
        dataset: &Dataset,
        batch_size: usize,
        drop_last: bool,
        seed: u64,
    ) -> Result<Sampler, Error> {
        assert!(batch_size > 0, "batches of 0 rows");
        let values = match kind {
            BatchSampler::BatchSampler => None,
            BatchSampler::NoDuplicates => Some(RowValues::new(dataset)?),
        };
        let (set, rows) = (dataset.name().clone(), dataset.len());
        Ok(Sampler { set, rows, batch_size, drop_last, seed, values })
    }

    /// Name of the set in messages.
    pub fn set(&self) -> &str {
        &self.set
    }

    /// The error when the set has no batch.
    pub(super) fn no_full_batch(&self) -> Error {
        Error::NoFullBatch {
            set: self.set.to_string(),
            rows: self.rows,
            batch_size: self.batch_size,
            duplicates: self.rows >= self.batch_size,
        }
    }

    /// Nominal number of batches of an epoch: rows over batch size, rounded down when the last
    /// batch is dropped, up otherwise. With `NO_DUPLICATES` an epoch may have more batches, or
    /// fewer when there are too few distinct values.
    pub fn batches_per_epoch(&self) -> usize {
        if self.drop_last {
            self.rows / self.batch_size
        } else {
            self.rows.div_ceil(self.batch_size)
        }
    }

    /// The batches of an epoch. They depend on the rows and on seed + epoch only.
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(epoch));
        match &self.values {
            None => EpochBatches { batches: self.shuffled(&mut random), warning: None },
            Some(values) => self.without_duplicates(values, &mut random),
        }
    }

    fn shuffled(&self, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        let order = permutation(self.rows, random);
        let batches = order.chunks(self.batch_size);
        batches
            .filter(|batch| !self.drop_last || batch.len() == self.batch_size)
            .map(<[usize]>::to_vec)
            .collect()
    }

    fn without_duplicates(&self, values: &RowValues, random: &mut ChaCha8Rng) -> EpochBatches {
        let (set, expected) = (self.set(), self.batches_per_epoch());
        let mut batches = self.pass(values, random);
        let first = batches.len();
        if first >= expected {
            return EpochBatches { batches, warning: None };
        }
        if first > 0 {
            for _ in 0..RESAMPLING_PASSES {
                batches.extend(self.pass(values, random));
                batches.truncate(expected);
            }
        }
        let warning = if batches.len() == expected {
            format!(
                "{set}: NO_DUPLICATES found {first} of the {expected} batches of an epoch without \
                 repeating a value; the other {} draw rows again",
                expected - first
            )
        } else {
            format!(
                "{set}: NO_DUPLICATES found only {} of the {expected} batches of an epoch: the \
                 data have too few distinct values for batches of {}; use smaller batches",
                batches.len(),
                self.batch_size
            )
        };
        EpochBatches { batches, warning: Some(warning) }
    }

    /// The batches of one pass over a permutation of all rows. The remaining rows are a linked
    /// list: each batch walks the list from its head and removes the rows that repeat no value of
    /// the batch.
    fn pass(&self, values: &RowValues, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        const END: usize = usize::MAX;
        let order = permutation(self.rows, random);
        let mut next: Vec<usize> = (1..=self.rows).collect();
        if let Some(last) = next.last_mut() {
            *last = END;
        }
        let mut head = if self.rows == 0 { END } else { 0 };
        // The last batch that contains each value; batches count from 1.
        let mut taken_by = vec![0_u64; values.distinct];
        let mut batches: Vec<Vec<usize>> = Vec::new();
        let mut number = 0;
        while head != END {
            number += 1;
            let mut batch = Vec::with_capacity(self.batch_size);
            let (mut previous, mut current) = (END, head);
            while current != END && batch.len() < self.batch_size {
                let following = next[current];
                let row_values = values.of(order[current]);
                if row_values.iter().any(|&value| taken_by[value as usize] == number) {
                    previous = current;
                } else {
                    row_values.iter().for_each(|&value| taken_by[value as usize] = number);
                    batch.push(order[current]);
                    if previous == END {
                        head = following;
                    } else {
                        next[previous] = following;
                    }
                }
                current = following;
            }
            if batch.len() == self.batch_size || !self.drop_last {
                batches.push(batch);
            }
        }
        batches
    }
}

/// An identifier for each text cell of each row; equal cells have equal identifiers.
#[derive(Clone, Debug)]
struct RowValues {
    columns: usize,
    ids: Vec<u32>,
    distinct: usize,
}

impl RowValues {
    fn new(dataset: &Dataset) -> Result<RowValues, Error> {
        let columns = dataset.text_columns().len();
        // Hashes, as a copy of every text would take as much memory as the rows.
        let mut known: HashMap<[u8; 16], u32> = HashMap::new();
        let mut ids = Vec::with_capacity(columns * dataset.len());
        dataset.for_each_piece(|_, rows| {
            let texts: Vec<&[Value]> =
                dataset.text_columns().iter().map(|&index| &rows.columns()[index].1[..]).collect();
            for row in 0..rows.len() {
                for column in &texts {
                    let fresh = u32::try_from(known.len()).expect("fewer than 2^32 values");
                    ids.push(*known.entry(fingerprint(&column[row])).or_insert(fresh));
                }
            }
            Ok(())
        })?;
        Ok(RowValues { columns, ids, distinct: known.len() })
    }

    fn of(&self, row: usize) -> &[u32] {
        &self.ids[row * self.columns..(row + 1) * self.columns]
    }
}

/// The first half of the SHA-256 of a text cell, by which equal cells are found.
fn fingerprint(value: &Value) -> [u8; 16] {
    let hash = match value {
        Value::Text(text) | Value::Untyped(text) => Sha256::digest(text),
        other => Sha256::digest(value_text(other)),
    };
    *hash.first_chunk().expect("a hash of 32 bytes")
}

/// The content of a text cell as one string; a list of texts is one value.
fn value_text(value: &Value) -> String {
    match value {
        Value::Text(text) | Value::Untyped(text) => text.clone(),
        Value::List(items) => {
            // Quoted, so that ["a, b"] and ["a", "b"] differ.
            let items: Vec<String> =
                items.iter().map(|item| format!("{:?}", value_text(item))).collect();
            format!("[{}]", items.join(", "))
        }
        other => unreachable!("{} in a column of texts that was checked", other.describe()),
    }
}

/// A random permutation of `0..count` (Fisher-Yates). It is implemented here so that a new release
/// of a library cannot change the permutation of a seed.
pub(super) fn permutation(count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The high half of a 64 x 64 bit product is uniform in 0..=last, with a bias of at most
        // last / 2^64.
        let draw = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, draw as usize);
    }
    order
}
