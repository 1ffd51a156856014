use crate::losses::cached::Cached;
use crate::losses::dual_encoder::batch_triplets::{
    BatchAllTripletLoss, BatchHardSoftMarginTripletLoss, BatchHardTripletLoss,
    BatchSemiHardTripletLoss,
};
use crate::losses::dual_encoder::contrastive::{ContrastiveLoss, OnlineContrastiveLoss};
use crate::losses::dual_encoder::cosent::{AnglELoss, CoSENTLoss};
use crate::losses::dual_encoder::cosine_similarity::CosineSimilarityLoss;
use crate::losses::dual_encoder::distill_kl_div::DistillKLDivLoss;
use crate::losses::dual_encoder::embed_distill::{EmbedDistillLoss, MSELoss};
use crate::losses::dual_encoder::margin_mse::MarginMSELoss;
use crate::losses::dual_encoder::mega_batch_margin::MegaBatchMarginLoss;
use crate::losses::dual_encoder::multiple_negatives_ranking::MultipleNegativesRankingLoss;
use crate::losses::dual_encoder::orthogonal_regularization::GlobalOrthogonalRegularizationLoss;
use crate::losses::dual_encoder::triplet::TripletLoss;
use crate::losses::table::LossEntry;

/// The losses of dual encoders. The first is the default of `SentenceTransformerTrainer` in
/// sentence-transformers.
pub const DUAL_ENCODER_LOSSES: &[LossEntry] = &[
    LossEntry::in_chunks::<CoSENTLoss>(),
    LossEntry::in_chunks::<MultipleNegativesRankingLoss>(),
    LossEntry::of::<Cached<MultipleNegativesRankingLoss>>(),
    LossEntry::in_chunks::<AnglELoss>(),
    LossEntry::in_chunks::<CosineSimilarityLoss>(),
    LossEntry::in_chunks::<ContrastiveLoss>(),
    LossEntry::in_chunks::<OnlineContrastiveLoss>(),
    LossEntry::in_chunks::<TripletLoss>(),
    LossEntry::in_chunks::<BatchAllTripletLoss>(),
    LossEntry::in_chunks::<BatchHardTripletLoss>(),
    LossEntry::in_chunks::<BatchHardSoftMarginTripletLoss>(),
    LossEntry::in_chunks::<BatchSemiHardTripletLoss>(),
    LossEntry::in_chunks::<MarginMSELoss>(),
    LossEntry::in_chunks::<DistillKLDivLoss>(),
    LossEntry::in_chunks::<MSELoss>(),
    LossEntry::in_chunks::<EmbedDistillLoss>(),
    LossEntry::in_chunks::<GlobalOrthogonalRegularizationLoss>(),
    LossEntry::of::<MegaBatchMarginLoss>(),
];
