use rankforge_kernels::ops::{Activation, Pooling};

/// One step from hidden states to outputs; classification heads and sentence-transformers modules
/// are chains of these. The first is always `Pool`.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadStage {
    /// `T x H` to `B x (modes · H)`, modes side by side.
    Pool {
        /// Which, in the order of their columns.
        modes: Vec<Pooling>,
        /// Leave the prompt's tokens out (`include_prompt = false`).
        skip_prompt: bool,
    },
    /// Dropout in training.
    Dropout(f32),
    /// `activation(W x + b)`, plus `x` when `residual` (projected where the widths differ).
    Dense {
        /// Width of the input.
        inputs: usize,
        /// Width of the output.
        outputs: usize,
        /// Whether there is a `b`.
        bias: bool,
        /// Applied to the sum.
        activation: Activation,
        /// Whether the input is added to the result.
        residual: bool,
    },
    /// Layer norm.
    LayerNorm {
        /// Width.
        width: usize,
        /// Epsilon.
        epsilon: f32,
        /// Whether it has a bias.
        bias: bool,
    },
    /// To unit length.
    Normalize,
}

impl HeadStage {
    /// Width of the output, given the width of the input.
    pub(crate) fn output_columns(&self, input: usize) -> usize {
        match *self {
            HeadStage::Pool { ref modes, .. } => modes.len() * input,
            HeadStage::Dense { outputs, .. } => outputs,
            HeadStage::Dropout(_) | HeadStage::LayerNorm { .. } | HeadStage::Normalize => input,
        }
    }
}
