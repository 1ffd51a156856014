use crate::arguments::BatchSampler;
use crate::error::Error;
use crate::training::dataset::Dataset;
use crate::training::group_by_label::LabelGroups;
use crate::training::no_duplicates::TextHashes;
use crate::training::order::random_order;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rankforge_data::BlockOrder;
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
    /// The blocks of rows that are not all in memory.
    blocks: Option<BlockOrder>,
    rule: Rule,
}

/// What a sampler looks at besides the number of rows.
#[derive(Clone, Debug)]
enum Rule {
    /// Nothing.
    Random,
    /// The texts.
    NoDuplicates(TextHashes),
    /// The labels.
    GroupByLabel(LabelGroups),
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
    /// When a row cannot be read; a batch size, labels, columns or a source of rows that
    /// `GROUP_BY_LABEL` cannot use.
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
        let blocks = dataset.blocks();
        let rule = match kind {
            BatchSampler::BatchSampler => Rule::Random,
            BatchSampler::NoDuplicates => Rule::NoDuplicates(TextHashes::new(dataset)?),
            BatchSampler::GroupByLabel if blocks.is_some() => {
                let expected = "another one, or rows in memory";
                let got = "group_by_label, whose rows come from anywhere in the data";
                return Err(Error::argument("batch_sampler", expected, got));
            }
            BatchSampler::GroupByLabel => {
                Rule::GroupByLabel(LabelGroups::new(dataset, batch_size)?)
            }
        };
        let (set, rows) = (dataset.name().clone(), dataset.len());
        Ok(Sampler { set, rows, batch_size, drop_last, seed, blocks, rule })
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
    /// fewer when there are too few distinct values. `GROUP_BY_LABEL` leaves rows out.
    pub fn batches_per_epoch(&self) -> usize {
        if let Rule::GroupByLabel(labels) = &self.rule {
            return labels.batches_per_epoch(self.batch_size, self.drop_last);
        }
        if self.drop_last {
            self.rows / self.batch_size
        } else {
            self.rows.div_ceil(self.batch_size)
        }
    }

    /// The batches of an epoch. They depend on the rows and on seed + epoch only.
    pub fn epoch(&self, epoch: u64) -> EpochBatches {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(epoch));
        match &self.rule {
            Rule::Random => EpochBatches { batches: self.shuffled(&mut random), warning: None },
            Rule::NoDuplicates(texts) => self.without_duplicates(texts, &mut random),
            Rule::GroupByLabel(labels) => {
                let batches = labels.batches(self.batch_size, self.drop_last, &mut random);
                let left_out = self.rows - batches.iter().map(Vec::len).sum::<usize>();
                let (set, rows) = (self.set(), self.rows);
                let warning = (left_out > 0).then(|| {
                    format!(
                        "{set}: GROUP_BY_LABEL leaves {left_out} of {rows} rows out of an epoch, \
                         as the labels have different numbers of rows"
                    )
                });
                EpochBatches { batches, warning }
            }
        }
    }

    fn shuffled(&self, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        let order = random_order(self.rows, self.blocks.as_ref(), random);
        let batches = order.chunks(self.batch_size);
        batches
            .filter(|batch| !self.drop_last || batch.len() == self.batch_size)
            .map(<[usize]>::to_vec)
            .collect()
    }

    fn without_duplicates(&self, texts: &TextHashes, random: &mut ChaCha8Rng) -> EpochBatches {
        let (set, expected) = (self.set(), self.batches_per_epoch());
        let mut batches = self.pass(texts, random);
        let first = batches.len();
        if first >= expected {
            return EpochBatches { batches, warning: None };
        }
        if first > 0 {
            for _ in 0..RESAMPLING_PASSES {
                batches.extend(self.pass(texts, random));
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

    /// The batches of one pass over a permutation of all rows.
    fn pass(&self, texts: &TextHashes, random: &mut ChaCha8Rng) -> Vec<Vec<usize>> {
        let mut batches =
            texts.batches(random_order(self.rows, self.blocks.as_ref(), random), self.batch_size);
        batches.retain(|batch| !self.drop_last || batch.len() == self.batch_size);
        batches
    }
}
