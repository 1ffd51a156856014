use rankforge_kernels::ops::{Activation, Pooling};

/// One stage of the head, which turns hidden states into outputs.
///
/// Classification heads and the modules of sentence-transformers are chains of stages. The first
/// stage of a chain is `Pool`, and no other is.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadStage {
    /// Pools the hidden states of each sequence by every mode and concatenates the results:
    /// `T x H` to `B x (modes * H)`.
    Pool {
        /// The modes, in the order of their columns.
        modes: Vec<Pooling>,
        /// Whether the tokens of the prompt are excluded (`include_prompt = false`).
        skip_prompt: bool,
    },
    /// Dropout with this probability, in training only.
    Dropout(f32),
    /// `activation(W x + b)`. With `residual`, `x` is added to that, or `R x` where the widths
    /// differ.
    Dense {
        /// Width of `x`.
        inputs: usize,
        /// Width of the output.
        outputs: usize,
        /// Whether there is a bias `b`.
        bias: bool,
        /// The activation.
        activation: Activation,
        /// Whether there is a residual connection.
        residual: bool,
    },
    /// Layer norm over the columns.
    LayerNorm {
        /// Number of columns.
        width: usize,
        /// Added to the variance.
        epsilon: f32,
        /// Whether there is a bias.
        bias: bool,
    },
    /// Scales each row to unit length.
    Normalize,
}

impl HeadStage {
    /// Width of the output for an input of width `input`.
    pub(crate) fn output_columns(&self, input: usize) -> usize {
        match *self {
            HeadStage::Pool { ref modes, .. } => modes.len() * input,
            HeadStage::Dense { outputs, .. } => outputs,
            HeadStage::Dropout(_) | HeadStage::LayerNorm { .. } | HeadStage::Normalize => input,
        }
    }
}
