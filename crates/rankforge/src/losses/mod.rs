//! Losses: pure functions from outputs and targets to a value and the gradient of the outputs.
//!
//! A loss sees neither the model nor the tokens nor the chunks of gradient caching, so gradient
//! caching is one function of the trainer that serves every loss.
//!
//! | to add | write |
//! |---|---|
//! | a cross-encoder loss | a file in `cross_encoder/`, and its line in the table there |
//! | a dual-encoder loss | a file in `dual_encoder/`, and its line in the table there |
//! | the cached form of a loss | `Cached<TheLoss>` and its line in the table |

mod activation;
mod cached;
mod columns;
pub mod cross_encoder;
mod cross_entropy;
pub mod dual_encoder;
mod examples;
mod loss;
mod settings;
mod table;

pub use activation::Activation;
pub use cached::{Cacheable, Cached};
pub use columns::{expect_embeddings, expect_one_score};
pub use cross_encoder::{
    BinaryCrossEntropyLoss, CROSS_ENCODER_LOSSES, MultipleNegativesRankingLoss, cross_encoder_loss,
};
pub use dual_encoder::{DUAL_ENCODER_LOSSES, dual_encoder_loss};
pub use examples::{Cell, Column, Examples, LABEL_ROLE, Labels, Targets};
pub use loss::{Draw, Loss, LossBatch, LossOutput, Plan};
pub use settings::Settings;
pub use table::{LossEntry, names};

/// [`MultipleNegativesRankingLoss`] of cross-encoders with gradient caching.
pub type CachedMultipleNegativesRankingLoss = Cached<MultipleNegativesRankingLoss>;
