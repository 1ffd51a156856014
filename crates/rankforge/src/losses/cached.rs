use crate::error::Error;
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use rankforge_encoder::ModelKind;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// A loss that has a cached form in sentence-transformers.
pub trait Cacheable: Loss + Default + DeserializeOwned {
    /// Name of the cached form.
    const CACHED_NAME: &'static str;
}

/// A loss with gradient caching: the same numbers, memory for `mini_batch_size` sequences. The
/// caching itself is the trainer's and serves every loss that sets a size.
///
/// # Paper
/// Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup,
/// arXiv:2101.06983.
#[derive(Clone, Debug, PartialEq)]
pub struct Cached<L> {
    /// The loss.
    pub loss: L,
    /// Sequences in a forward and backward pass.
    pub mini_batch_size: usize,
}

/// The field of [`Cached`] beside those of its loss.
const SIZE: &str = "mini_batch_size";

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
            cached.mini_batch_size = serde_json::from_value(size).map_err(D::Error::custom)?;
        }
        cached.loss = serde_json::from_value(Value::Object(fields)).map_err(|error| {
            let message = error.to_string();
            // The loss inside lists its own settings only.
            let unknown = message.starts_with("unknown field");
            D::Error::custom(if unknown { format!("{message}, or `{SIZE}`") } else { message })
        })?;
        Ok(cached)
    }
}

impl<L: Cacheable> Loss for Cached<L> {
    fn name(&self) -> &'static str {
        L::CACHED_NAME
    }

    fn config(&self) -> Value {
        let mut config = self.loss.config();
        config[SIZE] = self.mini_batch_size.into();
        config
    }

    fn citation(&self) -> &'static str {
        "@misc{gao2021scaling,
    title={Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup},
    author={Luyu Gao and Yunyi Zhang and Jiawei Han and Jamie Callan},
    year={2021},
    eprint={2101.06983},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}"
    }

    fn mini_batch_size(&self) -> Option<usize> {
        Some(self.mini_batch_size)
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

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.loss.compute(batch)
    }
}

impl<L: Cacheable> Cached<L> {
    /// An error of the loss inside, under the name that the user knows.
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
