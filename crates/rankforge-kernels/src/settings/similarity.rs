use std::cmp::Ordering;

/// How two embeddings are compared; higher is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Similarity {
    /// Dot product divided by both norms.
    Cosine,
    /// Dot product.
    Dot,
    /// Negative Euclidean distance.
    Euclidean,
    /// Negative Manhattan distance.
    Manhattan,
}

/// A search with the matrices of a device.
#[derive(Clone, Copy)]
pub(crate) struct SearchOf<V> {
    pub(crate) similarity: Similarity,
    pub(crate) queries: V,
    pub(crate) corpus: V,
    /// How many of the best rows each query gets: at least 1, and at most all rows.
    pub(crate) k: usize,
}

/// A row of the corpus and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Row number in the corpus.
    pub index: u32,
    /// Similarity to the query.
    pub score: f32,
}

/// By falling score, ties by lower index.
pub(crate) fn nearer_first(a: &Neighbour, b: &Neighbour) -> Ordering {
    // Scores are never NaN here.
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal).then(a.index.cmp(&b.index))
}
