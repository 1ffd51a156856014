use crate::View;

/// How two embeddings are compared; higher is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Similarity {
    /// Dot product over both lengths.
    Cosine,
    /// Dot product.
    Dot,
    /// Negative Euclidean distance.
    Euclidean,
    /// Negative Manhattan distance.
    Manhattan,
}

/// A row of the corpus and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Row number in the corpus.
    pub index: u32,
    /// Similarity to the query.
    pub score: f32,
}

/// The `k` best rows of `corpus` for each query, best first, ties by lower index; fewer when the
/// corpus is smaller. Works in blocks: the score matrix never exists.
///
/// `done` is called with the number of queries finished since the last call, from any thread.
///
/// # Shapes
/// `queries`: `Q x E`; `corpus`: `N x E`; the result has `Q` lists.
pub fn top_k(
    similarity: Similarity,
    queries: View<'_>,
    corpus: View<'_>,
    k: usize,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    unimplemented!()
}

/// The similarity of row `i` of `a` and row `i` of `b`, for all `i`.
///
/// # Shapes
/// `a`, `b`: `B x E`; the result has `B` numbers.
pub fn pairwise_similarity(similarity: Similarity, a: View<'_>, b: View<'_>) -> Vec<f32> {
    unimplemented!()
}
