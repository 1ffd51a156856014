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

impl Similarity {
    /// All of them.
    pub const ALL: [Similarity; 4] =
        [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean, Similarity::Manhattan];

    /// Its name in sentence-transformers: `cosine`, `dot`, `euclidean` or `manhattan`.
    pub fn name(self) -> &'static str {
        match self {
            Similarity::Cosine => "cosine",
            Similarity::Dot => "dot",
            Similarity::Euclidean => "euclidean",
            Similarity::Manhattan => "manhattan",
        }
    }

    /// The one that has this name.
    ///
    /// # Examples
    /// ```
    /// use rankforge_kernels::ops::Similarity;
    ///
    /// assert_eq!(Similarity::from_name("dot"), Some(Similarity::Dot));
    /// assert_eq!(Similarity::from_name("angle"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Similarity> {
        Similarity::ALL.into_iter().find(|similarity| similarity.name() == name)
    }
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
