//! Losses of cross-encoders: the outputs are scores of pairs.

mod binary_cross_entropy;
pub(crate) mod multiple_negatives_ranking;
mod table;

pub use binary_cross_entropy::BinaryCrossEntropyLoss;
pub use multiple_negatives_ranking::MultipleNegativesRankingLoss;
pub use table::CROSS_ENCODER_LOSSES;
