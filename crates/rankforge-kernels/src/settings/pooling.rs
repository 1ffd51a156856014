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
