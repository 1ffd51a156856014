//! The similarity of two embeddings in plain arithmetic, for examples and samples.

use rankforge_kernels::ops::Similarity;

/// The similarity of two embeddings, computed in f64; a distance is negative.
pub(crate) fn similarity_of_pair(similarity: Similarity, a: &[f32], b: &[f32]) -> f64 {
    let sum = |term: fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| term(f64::from(*a), f64::from(*b))).sum()
    };
    let dot = sum(|a, b| a * b);
    match similarity {
        Similarity::Dot => dot,
        Similarity::Cosine => {
            let norms = sum(|a, _| a * a).sqrt() * sum(|_, b| b * b).sqrt();
            if norms > 0.0 { dot / norms } else { 0.0 }
        }
        Similarity::Euclidean => -sum(|a, b| (a - b).powi(2)).sqrt(),
        Similarity::Manhattan => -sum(|a, b| (a - b).abs()),
    }
}
