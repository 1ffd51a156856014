use crate::error::EncoderError;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::str::FromStr;

/// The activation that [`CrossEncoder::predict`](crate::CrossEncoder::predict) applies to logits,
/// with the settings that its class in PyTorch has by default. Losses compute with the logits and
/// do not use it.
///
/// It is deserialised from the name of its class in PyTorch, in any case, with or without the
/// module: `Sigmoid`, `sigmoid` or `torch.nn.modules.activation.Sigmoid`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputActivation {
    /// `x`.
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
    /// `exp(x) / Σ exp`, over the labels of a pair; of a single label always 1.
    Softmax,
}

/// The full name of the Python class of each activation.
const CLASSES: [(OutputActivation, &str); 11] = [
    (OutputActivation::Identity, "torch.nn.modules.linear.Identity"),
    (OutputActivation::Sigmoid, "torch.nn.modules.activation.Sigmoid"),
    (OutputActivation::Tanh, "torch.nn.modules.activation.Tanh"),
    (OutputActivation::Relu, "torch.nn.modules.activation.ReLU"),
    (OutputActivation::LeakyRelu, "torch.nn.modules.activation.LeakyReLU"),
    (OutputActivation::Elu, "torch.nn.modules.activation.ELU"),
    (OutputActivation::Gelu, "torch.nn.modules.activation.GELU"),
    (OutputActivation::Silu, "torch.nn.modules.activation.SiLU"),
    (OutputActivation::Softplus, "torch.nn.modules.activation.Softplus"),
    (OutputActivation::LogSigmoid, "torch.nn.modules.activation.LogSigmoid"),
    (OutputActivation::Softmax, "torch.nn.modules.activation.Softmax"),
];

impl OutputActivation {
    /// Full name of its Python class.
    pub fn python_name(self) -> &'static str {
        CLASSES.iter().find(|(activation, _)| *activation == self).expect("all are listed").1
    }

    /// Name of its Python class, without the module: "ReLU".
    pub fn class_name(self) -> &'static str {
        last(self.python_name())
    }

    /// The default of sentence-transformers: sigmoid for one label, identity for several.
    pub fn default_for(num_labels: usize) -> OutputActivation {
        if num_labels == 1 { OutputActivation::Sigmoid } else { OutputActivation::Identity }
    }

    /// Applies the activation to the logits of the labels of one pair.
    pub fn apply(self, logits: &mut [f32]) {
        match self {
            OutputActivation::Identity => {}
            OutputActivation::Softmax => softmax(logits),
            _ => logits.iter_mut().for_each(|logit| *logit = self.of_one(*logit)),
        }
    }

    fn of_one(self, logit: f32) -> f32 {
        match self {
            OutputActivation::Sigmoid => return 1.0 / (1.0 + (-logit).exp()),
            OutputActivation::Tanh => return logit.tanh(),
            _ => {}
        }
        let x = f64::from(logit);
        let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
        let value = match self {
            OutputActivation::Relu => x.max(0.0),
            OutputActivation::LeakyRelu => x.max(0.01 * x),
            OutputActivation::Elu => x.max(0.0) + x.min(0.0).exp_m1(),
            OutputActivation::Gelu => {
                0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
            }
            OutputActivation::Silu => x / (1.0 + (-x).exp()),
            OutputActivation::Softplus => softplus(x),
            OutputActivation::LogSigmoid => -softplus(-x),
            _ => unreachable!("{} is computed above", self.python_name()),
        };
        value as f32
    }

    /// By the name of its class in torch, with or without the module.
    pub(crate) fn from_class(name: &str) -> Option<OutputActivation> {
        let class = last(name);
        let found = CLASSES.iter().find(|(_, known)| last(known).eq_ignore_ascii_case(class))?;
        Some(found.0)
    }

    /// The names of all classes, without modules.
    pub(crate) fn classes() -> String {
        CLASSES.map(|(_, name)| last(name)).join(", ")
    }
}

impl FromStr for OutputActivation {
    type Err = EncoderError;

    /// As in recipes: the name of a class of torch, with or without its module, in any case.
    fn from_str(name: &str) -> Result<OutputActivation, EncoderError> {
        let expected = || format!("one of {}", OutputActivation::classes());
        OutputActivation::from_class(name)
            .ok_or_else(|| EncoderError::argument("activation", expected(), name))
    }
}

impl<'de> Deserialize<'de> for OutputActivation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OutputActivation, D::Error> {
        let name = String::deserialize(deserializer)?;
        OutputActivation::from_class(&name).ok_or_else(|| {
            let known = OutputActivation::classes();
            D::Error::custom(format!("unknown activation \"{name}\": expected one of {known}"))
        })
    }
}

fn last(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `x_i = exp(x_i - max(x)) / sum_j exp(x_j - max(x))`, in place.
pub(crate) fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}
