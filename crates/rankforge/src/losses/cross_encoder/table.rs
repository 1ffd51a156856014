use crate::error::Error;
use crate::losses::cached::Cached;
use crate::losses::cross_encoder::binary_cross_entropy::BinaryCrossEntropyLoss;
use crate::losses::cross_encoder::multiple_negatives_ranking::MultipleNegativesRankingLoss;
use crate::losses::loss::Loss;
use crate::losses::settings::Settings;
use crate::losses::table::{LossEntry, build};

/// The losses of cross-encoders. The first is the default of `CrossEncoderTrainer` in
/// sentence-transformers.
pub const CROSS_ENCODER_LOSSES: &[LossEntry] = &[
    LossEntry::of::<BinaryCrossEntropyLoss>(),
    LossEntry::of::<MultipleNegativesRankingLoss>(),
    LossEntry::of::<Cached<MultipleNegativesRankingLoss>>(),
];

/// Builds a cross-encoder loss from its name and settings in sentence-transformers. For an optional
/// setting, `null` and `"none"` mean Python's `None`.
///
/// # Errors
/// An unknown name or setting (the error lists the known ones), or an invalid value.
///
/// # Examples
/// ```
/// let options = serde_json::json!({ "pos_weight": 5 });
/// let options = options.as_object().unwrap();
/// let loss = rankforge::losses::cross_encoder_loss("BinaryCrossEntropyLoss", options)?;
/// assert_eq!(loss.config()["pos_weight"], 5.0);
/// # Ok::<(), rankforge::Error>(())
/// ```
pub fn cross_encoder_loss(name: &str, options: &Settings) -> Result<Box<dyn Loss>, Error> {
    build(CROSS_ENCODER_LOSSES, name, options)
}
