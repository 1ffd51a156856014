//! Losses of dual encoders: the outputs are embeddings of single texts.

mod multiple_negatives_ranking;
mod score_matrix;
mod table;

pub use multiple_negatives_ranking::MultipleNegativesRankingLoss;
pub use score_matrix::{Compared, ScoreMatrix, over_scores};
pub use table::{DUAL_ENCODER_LOSSES, dual_encoder_loss};
