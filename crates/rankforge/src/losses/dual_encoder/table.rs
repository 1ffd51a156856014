use crate::error::Error;
use crate::losses::cached::Cached;
use crate::losses::dual_encoder::adaptive_layer::{self, AdaptiveLayerLoss};
use crate::losses::dual_encoder::batch_triplets::{
    BatchAllTripletLoss, BatchHardSoftMarginTripletLoss, BatchHardTripletLoss,
    BatchSemiHardTripletLoss,
};
use crate::losses::dual_encoder::contrastive::{ContrastiveLoss, OnlineContrastiveLoss};
use crate::losses::dual_encoder::contrastive_tension::{
    ContrastiveTensionLoss, ContrastiveTensionLossInBatchNegatives,
};
use crate::losses::dual_encoder::cosent::{AnglELoss, CoSENTLoss};
use crate::losses::dual_encoder::cosine_similarity::CosineSimilarityLoss;
use crate::losses::dual_encoder::distill_kl_div::DistillKLDivLoss;
use crate::losses::dual_encoder::embed_distill::{EmbedDistillLoss, MSELoss};
use crate::losses::dual_encoder::gist_embed::GISTEmbedLoss;
use crate::losses::dual_encoder::margin_mse::MarginMSELoss;
use crate::losses::dual_encoder::matryoshka::{self, MatryoshkaLoss};
use crate::losses::dual_encoder::mega_batch_margin::MegaBatchMarginLoss;
use crate::losses::dual_encoder::multiple_negatives_ranking::MultipleNegativesRankingLoss;
use crate::losses::dual_encoder::orthogonal_regularization::GlobalOrthogonalRegularizationLoss;
use crate::losses::dual_encoder::softmax::SoftmaxLoss;
use crate::losses::dual_encoder::symmetric_ranking::MultipleNegativesSymmetricRankingLoss;
use crate::losses::dual_encoder::triplet::TripletLoss;
use crate::losses::loss::Loss;
use crate::losses::settings::Settings;
use crate::losses::table::{LossEntry, build};
use serde_json::Value;

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
    LossEntry::in_chunks::<SoftmaxLoss>(),
    LossEntry::in_chunks::<GlobalOrthogonalRegularizationLoss>(),
    LossEntry::of::<MegaBatchMarginLoss>(),
    LossEntry::in_chunks::<ContrastiveTensionLoss>(),
    LossEntry::in_chunks::<ContrastiveTensionLossInBatchNegatives>(),
    LossEntry::in_chunks::<MultipleNegativesSymmetricRankingLoss>(),
    LossEntry::of::<Cached<MultipleNegativesSymmetricRankingLoss>>(),
    LossEntry::in_chunks::<GISTEmbedLoss>(),
    LossEntry::of::<Cached<GISTEmbedLoss>>(),
    LossEntry::built(matryoshka::NAME, matryoshka::CITATION, |options| {
        Ok(Box::new(MatryoshkaLoss::from_settings(options, inner)?))
    }),
    LossEntry::built(adaptive_layer::NAME, adaptive_layer::CITATION, |options| {
        Ok(Box::new(AdaptiveLayerLoss::from_settings(options, inner)?))
    }),
    LossEntry::built(adaptive_layer::IN_TWO_DIMENSIONS, adaptive_layer::CITATION, |options| {
        Ok(Box::new(AdaptiveLayerLoss::from_settings_in_two_dimensions(options, inner)?))
    }),
];

/// The loss inside the wrapper called `outer`, of a table with its name and settings.
///
/// # Errors
/// As `dual_encoder_loss`, with the path of the setting.
fn inner(outer: &str, mut options: Settings) -> Result<Box<dyn Loss>, Error> {
    let expected = "the name of the inner loss";
    let name = match options.remove("name") {
        Some(Value::String(name)) => name,
        other => {
            let got = other.map_or("none".to_owned(), |other| other.to_string());
            return Err(Error::argument(format!("{outer}.loss.name"), expected, got));
        }
    };
    build(DUAL_ENCODER_LOSSES, &name, &options).map_err(|error| match error {
        Error::Argument { field, expected, got } if field == "loss" => {
            Error::argument(format!("{outer}.loss.name"), expected, got)
        }
        error => error.renamed(&name, &format!("{outer}.loss")),
    })
}
