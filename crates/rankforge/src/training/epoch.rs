use crate::arguments::{MultiDatasetBatchSampler, TrainingArguments};
use crate::error::Error;
use crate::training::dataset::Dataset;
use crate::training::order::permutation;
use crate::training::sampler::{EpochBatches, Sampler};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// A batch of one training set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetBatch {
    /// Index of the set.
    pub set: usize,
    /// Indices of its rows in the set.
    pub rows: Vec<usize>,
}

/// The batches of an epoch, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epoch {
    /// The batches.
    pub batches: Vec<SetBatch>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// Samples the batches of each epoch from all training sets.
#[derive(Clone, Debug)]
pub struct EpochSampler {
    samplers: Vec<Sampler>,
    order: MultiDatasetBatchSampler,
    seed: u64,
}

impl EpochSampler {
    /// A sampler for `datasets`, with the batch size of training or of the evaluation loss.
    ///
    /// # Errors
    /// When a row cannot be read.
    pub fn new<'a>(
        datasets: impl IntoIterator<Item = &'a Dataset>,
        batch_size: usize,
        arguments: &TrainingArguments,
    ) -> Result<EpochSampler, Error> {
        let seed = arguments.data_seed.unwrap_or(arguments.seed);
        let (kind, drop_last) = (arguments.batch_sampler, arguments.dataloader_drop_last);
        let sampler = |dataset| Sampler::new(kind, dataset, batch_size, drop_last, seed);
        let samplers = datasets.into_iter().map(sampler).collect::<Result<_, _>>()?;
        Ok(EpochSampler { samplers, order: arguments.multi_dataset_batch_sampler, seed })
    }

    /// Number of batches in an epoch; with `NO_DUPLICATES`, an epoch may have fewer when there are
    /// too few different values.
    pub fn batches_per_epoch(&self) -> usize {
        let counts = self.samplers.iter().map(Sampler::batches_per_epoch);
        match self.order {
            MultiDatasetBatchSampler::Proportional => counts.sum(),
            MultiDatasetBatchSampler::RoundRobin => counts.min().unwrap_or(0) * self.samplers.len(),
        }
    }

    /// The batches of an epoch: a function of seed, epoch and rows.
    ///
    /// # Errors
    /// When there is no batch at all, or no batch of one of several sets that take turns.
    pub fn epoch(&self, epoch: u64) -> Result<Epoch, Error> {
        let mut warnings = Vec::new();
        let mut of_sets = Vec::with_capacity(self.samplers.len());
        let mut missing = None;
        for sampler in &self.samplers {
            let EpochBatches { mut batches, warning } = sampler.epoch(epoch);
            warnings.extend(warning);
            let expected = sampler.batches_per_epoch();
            if batches.len() > expected {
                warnings.push(format!(
                    "{}: NO_DUPLICATES made {} batches more than an epoch has; the rows of the \
                     last ones are left out of this epoch",
                    sampler.set(),
                    batches.len() - expected
                ));
                batches.truncate(expected);
            }
            if batches.is_empty() {
                let error = sampler.no_full_batch();
                // The other sets may have batches, unless each has to have as many.
                if self.samplers.len() == 1 || self.order == MultiDatasetBatchSampler::RoundRobin {
                    return Err(error);
                }
                warnings.push(format!("{error}; the run does not train on it"));
                missing.get_or_insert(error);
            }
            of_sets.push(batches.into_iter());
        }
        let mut batches = Vec::new();
        for set in
            self.turns(&of_sets.iter().map(ExactSizeIterator::len).collect::<Vec<_>>(), epoch)
        {
            let rows = of_sets[set].next().expect("as many turns as batches");
            batches.push(SetBatch { set, rows });
        }
        match missing {
            Some(error) if batches.is_empty() => Err(error),
            _ => Ok(Epoch { batches, warnings }),
        }
    }

    /// Which set each batch is taken from, given the number of batches of each.
    fn turns(&self, counts: &[usize], epoch: u64) -> Vec<usize> {
        match self.order {
            MultiDatasetBatchSampler::RoundRobin => {
                let rounds = counts.iter().copied().min().unwrap_or(0);
                (0..rounds).flat_map(|_| 0..counts.len()).collect()
            }
            MultiDatasetBatchSampler::Proportional => {
                let sets = counts.iter().enumerate();
                let turns: Vec<usize> =
                    sets.flat_map(|(set, &count)| std::iter::repeat_n(set, count)).collect();
                if counts.len() < 2 {
                    return turns;
                }
                let mut random = ChaCha8Rng::seed_from_u64(self.seed.wrapping_add(epoch));
                // The samplers use the first stream.
                random.set_stream(1);
                permutation(turns.len(), &mut random).into_iter().map(|at| turns[at]).collect()
            }
        }
    }
}
