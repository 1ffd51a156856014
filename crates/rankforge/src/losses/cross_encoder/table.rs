use crate::losses::cached::Cached;
use crate::losses::cross_encoder::binary_cross_entropy::BinaryCrossEntropyLoss;
use crate::losses::cross_encoder::multiple_negatives_ranking::MultipleNegativesRankingLoss;
use crate::losses::table::LossEntry;

/// The losses of cross-encoders. The first is the default of `CrossEncoderTrainer` in
/// sentence-transformers.
pub const CROSS_ENCODER_LOSSES: &[LossEntry] = &[
    LossEntry::of::<BinaryCrossEntropyLoss>(),
    LossEntry::of::<MultipleNegativesRankingLoss>(),
    LossEntry::of::<Cached<MultipleNegativesRankingLoss>>(),
];
