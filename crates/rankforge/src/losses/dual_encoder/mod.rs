//! Losses of dual encoders: the outputs are embeddings of single texts.

mod adaptive_layer;
mod batch_distances;
mod batch_triplets;
mod contrast;
mod contrastive;
mod contrastive_tension;
mod cosent;
mod cosine_similarity;
mod distill_kl_div;
mod divergence;
mod embed_distill;
mod gist_embed;
mod guide_model;
mod linear_layer;
mod margin_mse;
mod matryoshka;
mod mega_batch_margin;
mod multiple_negatives_ranking;
mod orthogonal_regularization;
mod pairwise;
mod score_matrix;
mod similarity;
mod softmax;
mod symmetric_ranking;
mod table;
mod triplet;

pub use batch_distances::BatchDistance;
pub use batch_triplets::{
    BatchAllTripletLoss, BatchHardSoftMarginTripletLoss, BatchHardTripletLoss,
    BatchSemiHardTripletLoss,
};
pub use contrastive::{ContrastiveLoss, OnlineContrastiveLoss};
pub use contrastive_tension::{ContrastiveTensionLoss, ContrastiveTensionLossInBatchNegatives};
pub use cosent::{AnglELoss, CoSENTLoss};
pub use cosine_similarity::{CosineSimilarityLoss, Regression};
pub use distill_kl_div::DistillKLDivLoss;
pub use embed_distill::{EmbedDistillLoss, EmbeddingDistance, MSELoss};
pub use margin_mse::MarginMSELoss;
pub use mega_batch_margin::MegaBatchMarginLoss;
pub use orthogonal_regularization::{
    Aggregation, GlobalOrthogonalRegularizationLoss, MatrixSimilarity,
};
mod texts;

pub use adaptive_layer::{AdaptiveLayerLoss, LayerWeighting};
pub use gist_embed::{GISTEmbedLoss, MarginStrategy};
pub use guide_model::GuideModel;
pub use matryoshka::MatryoshkaLoss;
pub use multiple_negatives_ranking::{
    Direction, HardnessMode, MultipleNegativesRankingLoss, PartitionMode, SimilarityFct,
};
pub use score_matrix::{Compared, ScoreMatrix, over_scores};
pub use similarity::{DistanceMetric, PairwiseSimilarity};
pub use softmax::SoftmaxLoss;
pub use symmetric_ranking::MultipleNegativesSymmetricRankingLoss;
pub use table::DUAL_ENCODER_LOSSES;
pub use triplet::TripletLoss;
