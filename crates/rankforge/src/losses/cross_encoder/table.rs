use crate::losses::cached::Cached;
use crate::losses::cross_encoder::adr_mse::ADRMSELoss;
use crate::losses::cross_encoder::binary_cross_entropy::BinaryCrossEntropyLoss;
use crate::losses::cross_encoder::cross_entropy::CrossEntropyLoss;
use crate::losses::cross_encoder::lambda::LambdaLoss;
use crate::losses::cross_encoder::list_mle::ListMLELoss;
use crate::losses::cross_encoder::list_net::ListNetLoss;
use crate::losses::cross_encoder::margin_mse::MarginMSELoss;
use crate::losses::cross_encoder::mse::MSELoss;
use crate::losses::cross_encoder::multiple_negatives_ranking::MultipleNegativesRankingLoss;
use crate::losses::cross_encoder::position_aware_list_mle::PListMLELoss;
use crate::losses::cross_encoder::rank_net::RankNetLoss;
use crate::losses::table::LossEntry;

/// The losses of cross-encoders. The first is the default of `CrossEncoderTrainer` in
/// sentence-transformers for a model with one label, the second that for several.
pub const CROSS_ENCODER_LOSSES: &[LossEntry] = &[
    LossEntry::in_chunks::<BinaryCrossEntropyLoss>(),
    LossEntry::in_chunks::<CrossEntropyLoss>(),
    LossEntry::in_chunks::<MultipleNegativesRankingLoss>(),
    LossEntry::of::<Cached<MultipleNegativesRankingLoss>>(),
    LossEntry::in_chunks::<MSELoss>(),
    LossEntry::in_chunks::<MarginMSELoss>(),
    LossEntry::of::<LambdaLoss>(),
    LossEntry::of::<RankNetLoss>(),
    LossEntry::of::<ListNetLoss>(),
    LossEntry::of::<ListMLELoss>(),
    LossEntry::of::<PListMLELoss>(),
    LossEntry::of::<ADRMSELoss>(),
];
