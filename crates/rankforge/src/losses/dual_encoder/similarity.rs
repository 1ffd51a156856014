//! Settings that say how embeddings are compared, by their names in sentence-transformers.

use crate::losses::dual_encoder::pairwise::PairFunction;
use crate::losses::settings::{by_name, name_of};
use serde::{Deserialize, Deserializer};

/// The similarity of the two embeddings of a pair: `similarity_fct` of several losses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairwiseSimilarity {
    /// Cosine, `pairwise_cos_sim`.
    Cosine,
    /// Dot product, `pairwise_dot_score`.
    Dot,
    /// Negative Euclidean distance, `pairwise_euclidean_sim`.
    Euclidean,
    /// Negative Manhattan distance, `pairwise_manhattan_sim`.
    Manhattan,
    /// Absolute angle difference in complex space, `pairwise_angle_sim`.
    Angle,
}

/// The name of each similarity in sentence-transformers first, then those of a model's
/// `similarity_fn_name`.
const SIMILARITIES: &[(&str, PairwiseSimilarity)] = &[
    ("pairwise_cos_sim", PairwiseSimilarity::Cosine),
    ("pairwise_dot_score", PairwiseSimilarity::Dot),
    ("pairwise_euclidean_sim", PairwiseSimilarity::Euclidean),
    ("pairwise_manhattan_sim", PairwiseSimilarity::Manhattan),
    ("pairwise_angle_sim", PairwiseSimilarity::Angle),
    ("cosine", PairwiseSimilarity::Cosine),
    ("cos_sim", PairwiseSimilarity::Cosine),
    ("dot", PairwiseSimilarity::Dot),
    ("dot_score", PairwiseSimilarity::Dot),
    ("euclidean", PairwiseSimilarity::Euclidean),
    ("manhattan", PairwiseSimilarity::Manhattan),
    ("angle", PairwiseSimilarity::Angle),
];

impl PairwiseSimilarity {
    /// The name of the function in sentence-transformers.
    pub fn name(self) -> &'static str {
        name_of(&self, SIMILARITIES)
    }

    pub(super) fn function(self) -> PairFunction {
        match self {
            PairwiseSimilarity::Cosine => PairFunction::Cosine,
            PairwiseSimilarity::Dot => PairFunction::Dot,
            PairwiseSimilarity::Euclidean => PairFunction::Euclidean { shift: 0.0 },
            PairwiseSimilarity::Manhattan => PairFunction::Manhattan { shift: 0.0 },
            PairwiseSimilarity::Angle => PairFunction::Angle,
        }
    }
}

impl<'de> Deserialize<'de> for PairwiseSimilarity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PairwiseSimilarity, D::Error> {
        by_name(deserializer, "similarity", SIMILARITIES)
    }
}

/// The distance of the two embeddings of a pair: `SiameseDistanceMetric` of the contrastive losses,
/// `TripletDistanceMetric` of the triplet loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DistanceMetric {
    /// `1 - cosine`.
    Cosine,
    /// `‖u - v‖`, the square root of the sum of squares.
    Euclidean,
    /// The sum of absolute differences.
    Manhattan,
}

const DISTANCES: &[(&str, DistanceMetric)] = &[
    ("COSINE", DistanceMetric::Cosine),
    ("EUCLIDEAN", DistanceMetric::Euclidean),
    ("MANHATTAN", DistanceMetric::Manhattan),
    ("COSINE_DISTANCE", DistanceMetric::Cosine),
];

impl DistanceMetric {
    /// The name of the member of `TripletDistanceMetric`.
    pub(super) fn triplet_name(self) -> String {
        format!("TripletDistanceMetric.{}", name_of(&self, DISTANCES))
    }

    /// The name of the member of `SiameseDistanceMetric`.
    pub(super) fn siamese_name(self) -> &'static str {
        match self {
            DistanceMetric::Cosine => "SiameseDistanceMetric.COSINE_DISTANCE",
            DistanceMetric::Euclidean => "SiameseDistanceMetric.EUCLIDEAN",
            DistanceMetric::Manhattan => "SiameseDistanceMetric.MANHATTAN",
        }
    }

    /// The function whose value is the negative distance, for cosine plus 1. `shift` is added to
    /// the differences of elements.
    pub(super) fn function(self, shift: f64) -> PairFunction {
        match self {
            DistanceMetric::Cosine => PairFunction::Cosine,
            DistanceMetric::Euclidean => PairFunction::Euclidean { shift },
            DistanceMetric::Manhattan => PairFunction::Manhattan { shift },
        }
    }

    /// The distance, of the value of [`DistanceMetric::function`].
    pub(super) fn distance(self, value: f64) -> f64 {
        match self {
            DistanceMetric::Cosine => 1.0 - value,
            DistanceMetric::Euclidean | DistanceMetric::Manhattan => -value,
        }
    }
}

impl<'de> Deserialize<'de> for DistanceMetric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DistanceMetric, D::Error> {
        by_name(deserializer, "distance metric", DISTANCES)
    }
}
