use rankforge_encoder::OutputActivation;
use serde::{Deserialize, Deserializer, de};
use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// The activation that a loss applies to the logits, with the settings that its class in PyTorch
/// has by default. Settings name it by that class, with or without the module: `Sigmoid` or
/// `torch.nn.modules.activation.Sigmoid`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activation {
    /// `x`: the logit itself.
    #[default]
    Identity,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
    /// `max(x, 0)`.
    Relu,
    /// `x`, or a hundredth of it below 0.
    LeakyRelu,
    /// `x`, or `exp(x) - 1` below 0.
    Elu,
    /// `x Φ(x)`, with the error function.
    Gelu,
    /// `x / (1 + exp(-x))`.
    Silu,
    /// `log(1 + exp(x))`.
    Softplus,
    /// `log(1 / (1 + exp(-x)))`.
    LogSigmoid,
}

/// The activation of a model's outputs that has the same class in PyTorch.
const CLASSES: [(Activation, OutputActivation); 10] = [
    (Activation::Identity, OutputActivation::Identity),
    (Activation::Sigmoid, OutputActivation::Sigmoid),
    (Activation::Tanh, OutputActivation::Tanh),
    (Activation::Relu, OutputActivation::Relu),
    (Activation::LeakyRelu, OutputActivation::LeakyRelu),
    (Activation::Elu, OutputActivation::Elu),
    (Activation::Gelu, OutputActivation::Gelu),
    (Activation::Silu, OutputActivation::Silu),
    (Activation::Softplus, OutputActivation::Softplus),
    (Activation::LogSigmoid, OutputActivation::LogSigmoid),
];

impl Activation {
    /// The value and the derivative of the activation at `logit`; the derivative at a kink is that
    /// of PyTorch.
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
            Activation::Relu | Activation::LeakyRelu if logit > 0.0 => (logit, 1.0),
            Activation::Relu => (0.0, 0.0),
            Activation::LeakyRelu => (0.01 * logit, 0.01),
            Activation::Elu if logit > 0.0 => (logit, 1.0),
            Activation::Elu => (logit.exp_m1(), logit.exp()),
            Activation::Gelu => {
                let below = 0.5 * (1.0 + libm::erf(logit * FRAC_1_SQRT_2));
                let density = (-0.5 * logit * logit).exp() / (2.0 * PI).sqrt();
                (logit * below, below + logit * density)
            }
            Activation::Silu => {
                let share = sigmoid(logit);
                (logit * share, share * (1.0 + logit * (1.0 - share)))
            }
            Activation::Softplus => (-log_sigmoid(-logit), sigmoid(logit)),
            Activation::LogSigmoid => (log_sigmoid(logit), sigmoid(-logit)),
        }
    }

    /// The full name of the class in PyTorch, as in model cards and configuration files.
    pub fn full_name(self) -> &'static str {
        let listed = CLASSES.iter().find(|(activation, _)| *activation == self);
        listed.expect("all are listed").1.python_name()
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Activation, D::Error> {
        let name = String::deserialize(deserializer)?;
        let class = name.rsplit('.').next();
        match CLASSES.iter().find(|(_, known)| Some(known.class_name()) == class) {
            Some((activation, _)) => Ok(*activation),
            None => {
                let known: Vec<&str> =
                    CLASSES.iter().map(|(_, known)| known.class_name()).collect();
                let known = known.join(", ");
                Err(de::Error::custom(format!(
                    "unknown activation \"{name}\": expected one of {known}"
                )))
            }
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
