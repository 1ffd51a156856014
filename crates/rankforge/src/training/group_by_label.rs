//! Batches in which every label occurs at least twice, for losses that compare the rows of a batch
//! by their labels.

use crate::error::Error;
use crate::training::dataset::Dataset;
use crate::training::order::permutation;
use rand::rngs::ChaCha8Rng;
use rankforge_base::quoted_list;
use std::collections::HashMap;

/// The rows of each label that has at least two, in the order in which the labels occur first.
#[derive(Clone, Debug)]
pub(super) struct LabelGroups(Vec<Vec<usize>>);

/// The smallest batch: two rows of two labels each.
const SMALLEST: usize = 4;

impl LabelGroups {
    /// Groups all rows of a set by label.
    ///
    /// # Errors
    /// A batch size that is odd or below 4, no label column, a label that is a list, fewer than two
    /// labels with two rows, or a row that cannot be read.
    pub(super) fn new(dataset: &Dataset, batch_size: usize) -> Result<LabelGroups, Error> {
        if batch_size < SMALLEST || !batch_size.is_multiple_of(2) {
            let expected = "another one, or batches of an even number of rows of at least 4";
            return Err(Error::argument("batch_sampler", expected, named(batch_size)));
        }
        let set = &**dataset.name();
        let Some(label) = dataset.label_column() else {
            let names = dataset.text_names();
            let got = format!("only {}", quoted_list(names.iter().map(String::as_str)));
            return Err(Error::rows(set, "a label column, for group_by_label", got));
        };
        let mut known = HashMap::new();
        let mut groups: Vec<Vec<usize>> = Vec::new();
        dataset.for_each_piece(|start, rows| {
            let (name, values) = &rows.columns()[label];
            for (row, value) in (start..).zip(values) {
                let Some(number) = value.as_number() else {
                    let expected = "a number, for group_by_label";
                    return Err(Error::cell(set, row, name, expected, value.describe()));
                };
                // Adding 0 makes one label of 0 and -0.
                let group = *known.entry((number + 0.0).to_bits()).or_insert(groups.len());
                if group == groups.len() {
                    groups.push(Vec::new());
                }
                groups[group].push(row);
            }
            Ok(())
        })?;
        groups.retain(|rows| rows.len() >= 2);
        if groups.len() < 2 {
            let expected = "at least two labels with two rows each, for group_by_label";
            return Err(Error::rows(set, expected, groups.len()));
        }
        Ok(LabelGroups(groups))
    }

    /// The number of rows in the batches of an epoch: rounds end when one label is left.
    fn rows(&self) -> usize {
        let mut pairs: Vec<usize> = self.0.iter().map(|rows| rows.len() / 2).collect();
        pairs.sort_unstable_by_key(|&count| std::cmp::Reverse(count));
        2 * pairs.iter().map(|&count| count.min(pairs[1])).sum::<usize>()
    }

    /// The number of batches of an epoch.
    pub(super) fn batches_per_epoch(&self, batch_size: usize, drop_last: bool) -> usize {
        let last = !drop_last && self.rows() % batch_size >= SMALLEST;
        self.rows() / batch_size + usize::from(last)
    }

    /// The batches of an epoch. The labels take turns, in a new random order in each round, and
    /// give two of their rows; what is left of the last label, and a last batch of less than four
    /// rows, are left out.
    pub(super) fn batches(
        &self,
        batch_size: usize,
        drop_last: bool,
        random: &mut ChaCha8Rng,
    ) -> Vec<Vec<usize>> {
        let shuffled = |rows: &Vec<usize>| -> Vec<usize> {
            permutation(rows.len(), random).into_iter().map(|at| rows[at]).collect()
        };
        let groups: Vec<Vec<usize>> = self.0.iter().map(shuffled).collect();
        let mut pairs: Vec<_> = groups.iter().map(|rows| rows.chunks_exact(2)).collect();
        let mut left: Vec<usize> = (0..groups.len()).collect();
        let mut last_label = None;
        let (mut batches, mut batch) = (Vec::new(), Vec::new());
        while left.len() >= 2 {
            left = permutation(left.len(), random).into_iter().map(|at| left[at]).collect();
            // Two pairs of one label must not follow each other in a batch.
            if !batch.is_empty() && Some(left[0]) == last_label {
                left.swap(0, 1);
            }
            for &label in &left {
                batch.extend(pairs[label].next().expect("labels without rows are removed"));
                if batch.len() == batch_size {
                    batches.push(std::mem::take(&mut batch));
                }
            }
            last_label = left.last().copied();
            left.retain(|&label| pairs[label].len() > 0);
        }
        if !drop_last && batch.len() >= SMALLEST {
            batches.push(batch);
        }
        batches
    }
}

fn named(batch_size: usize) -> String {
    format!("group_by_label with batches of {batch_size}")
}
