use rankforge_kernels::ops::{Activation, Gate};

/// One transformer encoder as data; every family is a value of this type.
#[derive(Clone, Debug, PartialEq)]
pub struct EncoderConfig {
    /// Hugging Face `model_type`.
    pub model_type: String,
    /// Vocabulary size, `V`.
    pub vocab_size: usize,
    /// Width of the token embeddings, `E`; differs from `hidden_size` where a projection follows (ELECTRA).
    pub embedding_size: usize,
    /// Hidden width, `H`.
    pub hidden_size: usize,
    /// Attention heads, `A`.
    pub heads: usize,
    /// MLP width, `F`.
    pub intermediate_size: usize,
    /// Segment embedding rows; 0 for none.
    pub type_vocab_size: usize,
    /// How tokens know their place.
    pub positions: Positions,
    /// Layer norm after the embeddings.
    pub embedding_norm: bool,
    /// Layer norm after the last block (pre-norm families).
    pub final_norm: bool,
    /// Epsilon of every layer norm.
    pub norm_epsilon: f32,
    /// Whether layer norms have a bias.
    pub norm_bias: bool,
    /// Whether the attention projections have biases.
    pub attention_bias: bool,
    /// Whether the MLP projections have biases.
    pub mlp_bias: bool,
    /// Where the norms of a block are.
    pub norm_place: NormPlace,
    /// The MLP's elementwise part.
    pub mlp: Mlp,
    /// One entry for each block; none is a static embedding model.
    pub blocks: Vec<BlockConfig>,
    /// Dropout after the embeddings.
    pub embedding_dropout: f32,
    /// Dropout of the attention probabilities.
    pub attention_dropout: f32,
    /// Dropout of the attention output before the residual.
    pub attention_output_dropout: f32,
    /// Dropout inside the MLP, before its second product (ModernBERT).
    pub mlp_dropout: f32,
    /// Dropout of the MLP output before the residual.
    pub mlp_output_dropout: f32,
    /// Longest sequence the positions allow; `usize::MAX` without a limit.
    pub max_positions: usize,
}

/// How tokens know their place in the sequence.
#[derive(Clone, Debug, PartialEq)]
pub enum Positions {
    /// No positions (static embeddings).
    None,
    /// A learned table of `rows`; the first token has number `offset` (RoBERTa: padding id + 1).
    Learned {
        /// Rows of the table.
        rows: usize,
        /// Number of the first position.
        offset: usize,
    },
    /// A learned table, and score offsets by relative distance shared by all blocks (MPNet).
    LearnedWithRelativeBias {
        /// Rows of the table.
        rows: usize,
        /// Number of the first position.
        offset: usize,
        /// Buckets of relative distance.
        buckets: usize,
        /// Distances from here on share the last bucket.
        max_distance: usize,
    },
    /// Rotary; the angle base is each block's own.
    Rotary,
}

impl Positions {
    /// Rows of the learned table, if there is one.
    pub fn rows(&self) -> Option<usize> {
        match *self {
            Positions::Learned { rows, .. } | Positions::LearnedWithRelativeBias { rows, .. } => {
                Some(rows)
            }
            Positions::None | Positions::Rotary => None,
        }
    }

    /// Number of the first position in the learned table, if there is one.
    pub fn offset(&self) -> Option<usize> {
        match *self {
            Positions::Learned { offset, .. }
            | Positions::LearnedWithRelativeBias { offset, .. } => Some(offset),
            Positions::None | Positions::Rotary => None,
        }
    }
}

/// Where the two norms of a block are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormPlace {
    /// After each residual sum (BERT).
    Post,
    /// Before attention and MLP (ModernBERT).
    Pre,
}

/// The MLP's elementwise part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mlp {
    /// `W₂ f(W₁ x)`.
    Plain(Activation),
    /// `W₂ (f(a) * b)` with `(a, b) = W₁ x`.
    Gated(Gate),
}

/// What differs between blocks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BlockConfig {
    /// Keys with `|query - key| <= window` are seen; `None` is global attention.
    pub window: Option<usize>,
    /// Base of the rotary angles, for rotary positions.
    pub rotary_theta: Option<f64>,
    /// Whether there is a norm before attention; ModernBERT's first block has none.
    pub attention_norm: bool,
}
