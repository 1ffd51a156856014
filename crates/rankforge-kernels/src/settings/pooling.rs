/// How the tokens of a sequence become one vector, as in sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Pooling {
    /// The first token that is not skipped.
    Cls,
    /// Elementwise maximum.
    Max,
    /// Arithmetic mean.
    Mean,
    /// Sum divided by the square root of the length.
    MeanSqrtLen,
    /// Mean weighted by position in the sequence, from 1 for its first token, skipped or not.
    WeightedMean,
    /// The last token.
    LastToken,
}

/// [`Pool`](crate::ops::Pool) as a device takes it: `S` are its sequences, `Q` its indices.
#[derive(Clone, Copy)]
pub(crate) struct PoolOf<S, Q> {
    pub(crate) mode: Pooling,
    pub(crate) sequences: S,
    pub(crate) skip: Option<Q>,
    pub(crate) column: usize,
}
