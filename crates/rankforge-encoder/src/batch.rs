use crate::EncoderConfig;
use rankforge_kernels::{Indices, Ragged};

/// What one sequence is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input<'a> {
    /// One text.
    Single(&'a str),
    /// Two texts that the model reads together.
    Pair(&'a str, &'a str),
}

/// One tokenised sequence, special tokens included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Vocabulary ids.
    pub ids: Vec<u32>,
    /// Segment of each token.
    pub type_ids: Vec<u32>,
    /// Tokens cut off by the maximum length.
    pub truncated: usize,
}

/// A ragged batch, ready for the transformer: one run of tokens and the sequence lengths.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Sequence lengths.
    pub ragged: Ragged,
    /// Vocabulary ids, `T`.
    pub ids: Indices,
    /// Segment ids, for models that have segments.
    pub type_ids: Option<Indices>,
    /// Position ids, for models with learned positions.
    pub positions: Option<Indices>,
    /// Leading tokens of each sequence that belong to a prompt.
    pub prompt_tokens: usize,
}

impl Batch {
    /// Lays the sequences end to end; positions and segments as `config` has them.
    ///
    /// # Panics
    /// When a sequence is longer than `config.max_positions` or an id is outside the vocabulary;
    /// the tokenizer truncates and the loader compares vocabularies, so both are bugs.
    pub fn new<'a>(
        sequences: impl IntoIterator<Item = &'a Tokens>,
        config: &EncoderConfig,
    ) -> Batch {
        unimplemented!()
    }
}
