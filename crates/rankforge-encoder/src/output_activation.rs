/// The activation that [`CrossEncoder::predict`](crate::CrossEncoder::predict) applies to logits.
/// Losses compute with the logits and do not use it.
///
/// It is deserialised from its name in lower case (`sigmoid`), the name of its class (`Sigmoid`) or
/// the full name of its Python class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputActivation {
    /// `x`.
    #[serde(alias = "Identity", alias = "torch.nn.modules.linear.Identity")]
    Identity,
    /// `1 / (1 + exp(-x))`.
    #[serde(alias = "Sigmoid", alias = "torch.nn.modules.activation.Sigmoid")]
    Sigmoid,
    /// `tanh(x)`.
    #[serde(alias = "Tanh", alias = "torch.nn.modules.activation.Tanh")]
    Tanh,
}

impl OutputActivation {
    /// Full name of its Python class.
    pub fn python_name(self) -> &'static str {
        match self {
            OutputActivation::Identity => "torch.nn.modules.linear.Identity",
            OutputActivation::Sigmoid => "torch.nn.modules.activation.Sigmoid",
            OutputActivation::Tanh => "torch.nn.modules.activation.Tanh",
        }
    }

    /// The default of sentence-transformers: sigmoid for one label, identity for several.
    pub fn default_for(num_labels: usize) -> OutputActivation {
        if num_labels == 1 { OutputActivation::Sigmoid } else { OutputActivation::Identity }
    }

    /// The activation of one logit.
    pub fn apply(self, logit: f32) -> f32 {
        match self {
            OutputActivation::Identity => logit,
            OutputActivation::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
            OutputActivation::Tanh => logit.tanh(),
        }
    }

    /// By the name of its class in torch, without the module.
    pub(crate) fn from_class(name: &str) -> Option<OutputActivation> {
        match name {
            "Identity" => Some(OutputActivation::Identity),
            "Sigmoid" => Some(OutputActivation::Sigmoid),
            "Tanh" => Some(OutputActivation::Tanh),
            _ => None,
        }
    }
}
