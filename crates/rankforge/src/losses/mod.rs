//! Losses: pure functions from outputs and targets to the loss and its gradient with respect to the
//! outputs.
//!
//! A loss does not see the model, the tokens or the chunks of gradient caching. Therefore gradient
//! caching is implemented once, in the trainer, for all losses.
//!
//! | to add | write |
//! |---|---|
//! | a cross-encoder loss | a file in `cross_encoder/`, and an entry in `cross_encoder/table.rs` |
//! | a dual-encoder loss | a file in `dual_encoder/`, and an entry in `dual_encoder/table.rs` |
//! | a cached variant with its own name | `impl Cacheable`, and an entry for `Cached<TheLoss>` |

mod activation;
mod by_name;
mod cached;
mod columns;
pub mod cross_encoder;
mod cross_entropy;
pub mod dual_encoder;
mod examples;
mod in_chunks;
mod loss;
mod margin_errors;
mod nesting;
mod pointers;
mod reduction;
mod settings;
mod table;
mod with_parameters;

pub use activation::Activation;
pub(crate) use by_name::check_available;
pub use by_name::{cross_encoder_loss, dual_encoder_loss, why_unavailable};
pub use cached::{Cacheable, Cached};
pub use columns::{expect_embeddings, expect_one_score};
pub use cross_encoder::{
    ADRMSELoss, BinaryCrossEntropyLoss, CROSS_ENCODER_LOSSES, CrossEntropyLoss, LambdaLoss,
    ListMLELoss, ListNetLoss, MSELoss, MarginMSELoss, MultipleNegativesRankingLoss,
    PListMLELambdaWeight, PListMLELoss, RankNetLoss, ReductionLog, WeightingScheme,
};
pub use dual_encoder::DUAL_ENCODER_LOSSES;
pub use examples::{Cell, Column, Examples, LABEL_ROLE, Labels, Targets};
pub use loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan};
pub use nesting::Nesting;
pub use reduction::Reduction;
pub(crate) use settings::SETTINGS;
pub use settings::Settings;
pub use table::{LossEntry, names};
pub use with_parameters::WithParameters;

/// [`MultipleNegativesRankingLoss`] of cross-encoders with gradient caching.
pub type CachedMultipleNegativesRankingLoss = Cached<MultipleNegativesRankingLoss>;
