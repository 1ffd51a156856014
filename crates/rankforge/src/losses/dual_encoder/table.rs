use crate::error::Error;
use crate::losses::cached::Cached;
use crate::losses::dual_encoder::multiple_negatives_ranking::MultipleNegativesRankingLoss;
use crate::losses::loss::Loss;
use crate::losses::settings::Settings;
use crate::losses::table::{LossEntry, build};

/// The losses of dual encoders.
pub const DUAL_ENCODER_LOSSES: &[LossEntry] = &[
    LossEntry::of::<MultipleNegativesRankingLoss>(),
    LossEntry::of::<Cached<MultipleNegativesRankingLoss>>(),
];

/// Builds a dual-encoder loss from its name and settings in sentence-transformers.
///
/// # Errors
/// An unknown name or setting (the error lists the known ones), or an invalid value.
pub fn dual_encoder_loss(name: &str, options: &Settings) -> Result<Box<dyn Loss>, Error> {
    build(DUAL_ENCODER_LOSSES, name, options)
}
