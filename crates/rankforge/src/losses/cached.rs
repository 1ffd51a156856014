use crate::error::Error;
use crate::losses::examples::Examples;
use crate::losses::in_chunks::{SIZE, with_size};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use crate::value_types::in_words;
use rankforge_encoder::ModelKind;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

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
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let mut cached = Cached::default();
        if let Some(size) = fields.remove(SIZE) {
            cached.mini_batch_size = serde_json::from_value(size).map_err(|error| {
                D::Error::custom(format!("`{SIZE}`: {}", in_words(&error.to_string())))
            })?;
        }
        cached.loss = serde_json::from_value(Value::Object(fields)).map_err(|error| {
            // serde lists the settings of the inner loss only.
            D::Error::custom(with_size(error.to_string()))
        })?;
        Ok(cached)
    }
}

impl<L: Cacheable> NamedLoss for Cached<L> {
    const NAME: &'static str = L::CACHED_NAME;
    const CITATION: &'static str = CITATION;
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

    fn check(&self) -> Result<(), Error> {
        if self.mini_batch_size == 0 {
            return Err(Error::argument(format!("{}.{SIZE}", self.name()), "at least 1", 0));
        }
        self.loss.check().map_err(|error| self.under_own_name(error))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        self.loss.check_model(kind, output_columns).map_err(|error| self.under_own_name(error))
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        self.loss.plan(examples, draw).map_err(|error| self.under_own_name(error))
    }

    fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
        self.loss.check_plan(plan, output_columns).map_err(|error| self.under_own_name(error))
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.loss.compute(batch)
    }
}

impl<L: Cacheable> Cached<L> {
    /// Replaces the name of the inner loss in an error by that of this loss, which the user knows.
    fn under_own_name(&self, error: Error) -> Error {
        let (inner, outer) = (self.loss.name(), self.name());
        let renamed = |text: String| match text.strip_prefix(inner) {
            Some(rest) => format!("{outer}{rest}"),
            None => text,
        };
        match error {
            Error::Argument { field, expected, got } => {
                Error::Argument { field: renamed(field), expected, got: renamed(got) }
            }
            Error::Rows { mut place, expected, got } => {
                place.reader = renamed(place.reader);
                Error::Rows { place, expected, got }
            }
            other => other,
        }
    }
}
