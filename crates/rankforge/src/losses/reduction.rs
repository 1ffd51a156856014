use crate::losses::settings::{by_name, name_of};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

/// What becomes of the errors of a batch, as in the losses of PyTorch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum: gradients grow with the batch.
    Sum,
}

const NAMES: &[(&str, Reduction)] = &[("mean", Reduction::Mean), ("sum", Reduction::Sum)];

impl Reduction {
    /// What the sum of errors is divided by, where `divisor` makes it their mean.
    pub(super) fn divisor(self, divisor: f64) -> f64 {
        match self {
            Reduction::Mean => divisor,
            Reduction::Sum => 1.0,
        }
    }

    /// Adds the setting to those of a loss where it is not the default: sentence-transformers tells
    /// it in no model card.
    pub(super) fn tell(self, mut config: Value) -> Value {
        if self != Reduction::Mean {
            config["reduction"] = json!(name_of(&self, NAMES));
        }
        config
    }
}

impl<'de> Deserialize<'de> for Reduction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Reduction, D::Error> {
        let what = "reduction (none gives no single number to train on)";
        by_name(deserializer, what, NAMES)
    }
}
