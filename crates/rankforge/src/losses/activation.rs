use serde::{Deserialize, Deserializer, de};

/// The activation that a loss applies to the logits. Settings name it by its PyTorch class, with or
/// without the module: `Sigmoid` or `torch.nn.modules.activation.Sigmoid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`: the logit itself.
    #[default]
    Identity,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
}

impl Activation {
    /// The value and the derivative of the activation at `logit`.
    pub(super) fn apply(self, logit: f64) -> (f64, f64) {
        match self {
            Activation::Identity => (logit, 1.0),
            Activation::Sigmoid => {
                let value = sigmoid(logit);
                (value, value * (1.0 - value))
            }
            Activation::Tanh => {
                let value = logit.tanh();
                (value, 1.0 - value * value)
            }
        }
    }

    /// The full name of the class in PyTorch, as in model cards and configuration files.
    pub fn full_name(self) -> &'static str {
        match self {
            Activation::Identity => "torch.nn.modules.linear.Identity",
            Activation::Sigmoid => "torch.nn.modules.activation.Sigmoid",
            Activation::Tanh => "torch.nn.modules.activation.Tanh",
        }
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Activation, D::Error> {
        let name = String::deserialize(deserializer)?;
        match name.rsplit('.').next().unwrap_or_default() {
            "Identity" => Ok(Activation::Identity),
            "Sigmoid" => Ok(Activation::Sigmoid),
            "Tanh" => Ok(Activation::Tanh),
            _ => Err(de::Error::custom(format!(
                "unknown activation \"{name}\": expected Identity, Sigmoid or Tanh"
            ))),
        }
    }
}

/// `1 / (1 + exp(-x))` without overflow.
pub(super) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let power = x.exp();
        power / (1.0 + power)
    }
}

/// `log(1 / (1 + exp(-x)))` without overflow.
pub(super) fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}
