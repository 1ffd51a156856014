use rankforge_kernels::ops::{Activation, Gate};

/// The hyperparameters of a transformer encoder. Every supported family is a value of this type.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Hugging Face `model_type`.
    pub model_type: String,
    /// Vocabulary size, `V`.
    pub vocab_size: usize,
    /// Width of the token embeddings. Where it is not `hidden_size`, a linear projection follows
    /// (ELECTRA).
    pub embedding_size: usize,
    /// Width of the hidden states, `H`.
    pub hidden_size: usize,
    /// Number of attention heads, `A`.
    pub heads: usize,
    /// Width of the MLP, `F`.
    pub intermediate_size: usize,
    /// Number of segments, the rows of the segment embedding table; 0 without such a table.
    pub type_vocab_size: usize,
    /// Position encoding.
    pub positions: Positions,
    /// Whether a layer norm follows the embeddings.
    pub embedding_norm: bool,
    /// Whether a layer norm follows the last block (pre-norm families).
    pub final_norm: bool,
    /// Epsilon of every layer norm.
    pub norm_epsilon: f32,
    /// Whether layer norms have a bias.
    pub norm_bias: bool,
    /// Whether the attention projections have biases.
    pub attention_bias: bool,
    /// Whether the MLP projections have biases.
    pub mlp_bias: bool,
    /// Position of the layer norms in a block.
    pub norm_place: NormPlace,
    /// Elementwise part of the MLP.
    pub mlp: Mlp,
    /// One entry per block. A static embedding model has no block.
    pub blocks: Vec<BlockConfig>,
    /// Probability of dropout after the embeddings.
    pub embedding_dropout: f32,
    /// Probability of dropout of the attention probabilities.
    pub attention_dropout: f32,
    /// Probability of dropout of the attention output, before the residual is added.
    pub attention_output_dropout: f32,
    /// Probability of dropout inside the MLP, before its second linear layer (ModernBERT).
    pub mlp_dropout: f32,
    /// Probability of dropout of the MLP output, before the residual is added.
    pub mlp_output_dropout: f32,
    /// Maximum length of a sequence; `usize::MAX` when the positions set no limit.
    pub max_positions: usize,
}

/// Position encoding.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// No positions (static embeddings).
    None,
    /// Learned position embeddings.
    Learned {
        /// Number of rows of the table.
        rows: usize,
        /// Row of the first token of a sequence: 0 in BERT, padding id + 1 in RoBERTa.
        offset: usize,
    },
    /// Learned position embeddings, and learned biases of the attention scores by relative
    /// distance, which all blocks share (MPNet).
    LearnedWithRelativeBias {
        /// Number of rows of the table.
        rows: usize,
        /// Row of the first token of a sequence.
        offset: usize,
        /// Number of buckets of relative distances.
        buckets: usize,
        /// Distances from this one on are in the last bucket.
        max_distance: usize,
    },
    /// Rotary position embeddings; see [`BlockConfig::rotary_theta`].
    Rotary,
}

impl Positions {
    /// Number of rows of the learned table, if there is one.
    pub fn rows(&self) -> Option<usize> {
        match *self {
            Positions::Learned { rows, .. } | Positions::LearnedWithRelativeBias { rows, .. } => {
                Some(rows)
            }
            Positions::None | Positions::Rotary => None,
        }
    }

    /// Row of the first token of a sequence in the learned table, if there is one.
    pub fn offset(&self) -> Option<usize> {
        match *self {
            Positions::Learned { offset, .. }
            | Positions::LearnedWithRelativeBias { offset, .. } => Some(offset),
            Positions::None | Positions::Rotary => None,
        }
    }
}

/// Position of the two layer norms of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlace {
    /// Post-norm: after each residual sum (BERT).
    Post,
    /// Pre-norm: before attention and before the MLP (ModernBERT).
    Pre,
}

/// Elementwise part of the MLP, between its linear layers `W₁` and `W₂`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mlp {
    /// `W₂ f(W₁ x)`.
    Plain(Activation),
    /// `W₂ (f(a) * b)` with `(a, b) = W₁ x`.
    Gated(Gate),
}

/// The hyperparameters that may differ between the blocks of a transformer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockConfig {
    /// Local attention: a query token attends to keys at a distance of at most `window` tokens on
    /// either side. `None` is global attention.
    pub window: Option<usize>,
    /// Base `theta` of the rotary angles, for rotary positions.
    pub rotary_theta: Option<f64>,
    /// Whether the block has a layer norm for its attention. The first block of ModernBERT has
    /// none.
    pub attention_norm: bool,
}
