use crate::arguments::BatchSampler;
use crate::error::Error;
use crate::training::dataset::Dataset;
use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};
use rankforge_data::Value;
use std::collections::HashMap;

/// Passes in which batches are drawn again when duplicates make the first pass too short.
const RESAMPLING_PASSES: usize = 2;

/// Draws the batches of each epoch from one training set.
#[derive(Clone, Debug)]
pub struct Sampler {
    rows: usize,
    batch_size: usize,
    drop_last: bool,
    seed: u64,
    values: Option<RowValues>,
}

/// The batches of an epoch, as row numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochBatches {
    /// The batches, in order.
    pub batches: Vec<Vec<usize>>,
    /// What the user should know about them.
    pub warning: Option<String>,
}

impl Sampler {
    /// A sampler over the rows of a set; labels are not compared by `NO_DUPLICATES`.
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
        Ok(Sampler { rows: dataset.len(), batch_size, drop_last, seed, values })
    }

    /// Rows of the set.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows of a full batch.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// Batches that an epoch is said to have, `floor` or `ceil` of rows over batch size; with
    /// `NO_DUPLICATES` there may be more, or fewer when values are too few.
    pub fn batches_per_epoch(&self) -> usize {
        if self.drop_last {
            self.rows / self.batch_size
        } else {
            self.rows.div_ceil(self.batch_size)
        }
    }

    /// The batches of an epoch; a function of seed + epoch and the rows.
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(epoch));
        match &self.values {
            None => EpochBatches { batches: self.cut(&mut random), warning: None },
            Some(values) => self.without_duplicates(values, &mut random),
        }
    }

    fn cut(&self, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        let order = permutation(self.rows, random);
        let batches = order.chunks(self.batch_size);
        batches
            .filter(|batch| !self.drop_last || batch.len() == self.batch_size)
            .map(<[usize]>::to_vec)
            .collect()
    }

    fn without_duplicates(&self, values: &RowValues, random: &mut ChaCha8Rng) -> EpochBatches {
        let expected = self.batches_per_epoch();
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
                "NO_DUPLICATES found {first} of the {expected} batches of an epoch without \
                 repeating a value; the other {} draw rows again",
                expected - first
            )
        } else {
            format!(
                "NO_DUPLICATES found only {} of the {expected} batches of an epoch: the data have \
                 too few distinct values for batches of {}; take smaller batches",
                batches.len(),
                self.batch_size
            )
        };
        EpochBatches { batches, warning: Some(warning) }
    }

    /// One pass over all rows. The rest of the permutation is a linked list: each batch walks it
    /// from the head and takes out the rows that repeat no value of the batch.
    fn pass(&self, values: &RowValues, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        const END: usize = usize::MAX;
        let order = permutation(self.rows, random);
        let mut next: Vec<usize> = (1..=self.rows).collect();
        if let Some(last) = next.last_mut() {
            *last = END;
        }
        let mut head = if self.rows == 0 { END } else { 0 };
        // The number of the batch that last took each value, from 1.
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

/// The values of each row as numbers, equal where the values read the same.
#[derive(Clone, Debug)]
struct RowValues {
    columns: usize,
    numbers: Vec<u32>,
    distinct: usize,
}

impl RowValues {
    fn new(dataset: &Dataset) -> Result<RowValues, Error> {
        let columns = dataset.text_columns().len();
        let mut known = HashMap::new();
        let mut numbers = Vec::with_capacity(columns * dataset.len());
        dataset.for_each_piece(|_, rows| {
            let texts: Vec<&[Value]> =
                dataset.text_columns().iter().map(|&index| &rows.columns()[index].1[..]).collect();
            for row in 0..rows.len() {
                for column in &texts {
                    let fresh = u32::try_from(known.len()).expect("fewer than 2^32 values");
                    numbers.push(*known.entry(value_text(&column[row])).or_insert(fresh));
                }
            }
            Ok(())
        })?;
        Ok(RowValues { columns, numbers, distinct: known.len() })
    }

    fn of(&self, row: usize) -> &[u32] {
        &self.numbers[row * self.columns..(row + 1) * self.columns]
    }
}

/// What the cell of a text column reads like; a list is one value.
fn value_text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::List(items) => {
            // Quoted, so that ["a, b"] and ["a", "b"] differ.
            let items: Vec<String> =
                items.iter().map(|item| format!("{:?}", value_text(item))).collect();
            format!("[{}]", items.join(", "))
        }
        other => unreachable!("{} in a column of texts that was checked", other.describe()),
    }
}

/// A random order of `0..count` (Fisher and Yates), written out here so that no release of a
/// library can change the order that a seed stands for.
pub(super) fn permutation(count: usize, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        // The high half of a 64 x 64 bit product is uniform in 0..=last up to 2^-64 · last.
        let draw = (u128::from(random.next_u64()) * (last as u128 + 1)) >> 64;
        order.swap(last, draw as usize);
    }
    order
}
