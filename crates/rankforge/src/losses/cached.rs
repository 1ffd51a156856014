use crate::error::Error;
use crate::losses::examples::Examples;
use crate::losses::in_chunks::{SIZE, with_size};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan};
use crate::losses::nesting::Nesting;
use crate::losses::settings::{Settings, settings};
use crate::losses::table::NamedLoss;
use rankforge_encoder::{LoadOptions, ModelKind};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A loss that has a variant with gradient caching in sentence-transformers.
pub trait Cacheable: NamedLoss + Default {
    /// Name of the variant with gradient caching.
    const CACHED_NAME: &'static str;
}

/// A loss with gradient caching: value and gradients are those of the whole batch, while
/// activations are kept for `mini_batch_size` sequences only. The trainer does the caching, for
/// every loss with a [`Loss::mini_batch_size`].
///
/// # Paper
/// Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
/// arXiv:2101.06983.
#[derive(Clone, Debug, PartialEq)]
pub struct Cached<L> {
    /// The inner loss.
    pub loss: L,
    /// Maximum number of sequences in one forward and backward pass; 32 by default.
    pub mini_batch_size: usize,
}

const CITATION: &str = "@misc{gao2021scaling,
    title={Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup},
    author={Luyu Gao and Yunyi Zhang and Jiawei Han and Jamie Callan},
    year={2021},
    eprint={2101.06983},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}";

impl<L: Default> Default for Cached<L> {
    fn default() -> Cached<L> {
        Cached { loss: L::default(), mini_batch_size: 32 }
    }
}

impl<'de, L: Cacheable> Deserialize<'de> for Cached<L> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cached<L>, D::Error> {
        Cached::from_settings(&Settings::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// The setting that caching adds.
#[derive(Deserialize)]
struct Size {
    mini_batch_size: usize,
}

impl<L: Cacheable> NamedLoss for Cached<L> {
    const NAME: &'static str = L::CACHED_NAME;
    const CITATION: &'static str = CITATION;

    fn from_settings(options: &Settings) -> Result<Cached<L>, Error> {
        let mut options = options.clone();
        let mut cached = Cached::default();
        if let Some(size) = options.remove_entry(SIZE) {
            let Size { mini_batch_size } = settings(Self::NAME, &Settings::from_iter([size]))?;
            cached.mini_batch_size = mini_batch_size;
        }
        cached.loss = settings(Self::NAME, &options).map_err(|error| match error {
            // serde lists the settings of the inner loss only.
            Error::Argument { field, expected, got } => {
                Error::Argument { field, expected, got: with_size(got) }
            }
            other => other,
        })?;
        Ok(cached)
    }
}

impl<L: Cacheable> Loss for Cached<L> {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn config(&self) -> Value {
        let mut config = self.loss.config();
        config[SIZE] = self.mini_batch_size.into();
        config
    }

    fn citation(&self) -> &'static str {
        Self::CITATION
    }

    fn mini_batch_size(&self) -> Option<usize> {
        Some(self.mini_batch_size)
    }

    fn component_names(&self) -> Vec<&'static str> {
        self.loss.component_names()
    }

    fn open(&mut self, options: &LoadOptions) -> Result<(), Error> {
        self.loss.open(options)
    }

    fn check(&self) -> Result<(), Error> {
        if self.mini_batch_size == 0 {
            return Err(Error::argument(format!("{}.{SIZE}", self.name()), "at least 1", 0));
        }
        self.loss.check().map_err(|error| self.under_own_name(error))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        self.loss.check_model(kind, output_columns).map_err(|error| self.under_own_name(error))
    }

    fn warnings(&self, output_columns: usize) -> Vec<String> {
        self.loss.warnings(output_columns)
    }

    fn parameters(&self, output_columns: usize, seed: u64) -> Vec<LossParameter> {
        self.loss.parameters(output_columns, seed)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.loss.plan(examples, draw).map_err(|error| self.under_own_name(error))
    }

    fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
        self.loss.check_plan(plan, output_columns).map_err(|error| self.under_own_name(error))
    }

    fn prepare(&self, plan: &mut Plan<'_>) -> Result<(), Error> {
        self.loss.prepare(plan)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.loss.compute(batch)
    }

    fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
        self.loss.compute_nested(batch, nestings)
    }
}

impl<L: Cacheable> Cached<L> {
    /// Replaces the name of the inner loss in an error by that of this loss, which the user knows.
    fn under_own_name(&self, error: Error) -> Error {
        error.renamed(self.loss.name(), self.name())
    }
}
