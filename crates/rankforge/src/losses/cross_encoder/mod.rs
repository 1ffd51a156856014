//! Losses of cross-encoders: the outputs are scores of pairs.
//!
//! | losses | files |
//! |---|---|
//! | of a pair and its label | `binary_cross_entropy.rs`, `cross_entropy.rs`, `mse.rs` |
//! | of a positive and negatives | `margin_mse.rs`, `multiple_negatives_ranking.rs` |
//! | of a list of documents | all others, over `list_wise.rs` |

mod adr_mse;
mod binary_cross_entropy;
mod cross_entropy;
mod lambda;
mod list_mle;
mod list_net;
mod list_wise;
mod margin_mse;
mod mse;
pub(crate) mod multiple_negatives_ranking;
mod position_aware_list_mle;
mod rank_net;
mod table;
mod weighting_scheme;

pub use adr_mse::ADRMSELoss;
pub use binary_cross_entropy::BinaryCrossEntropyLoss;
pub use cross_entropy::CrossEntropyLoss;
pub use lambda::{LambdaLoss, ReductionLog};
pub use list_mle::ListMLELoss;
pub use list_net::ListNetLoss;
pub use margin_mse::MarginMSELoss;
pub use mse::MSELoss;
pub use multiple_negatives_ranking::MultipleNegativesRankingLoss;
pub use position_aware_list_mle::{PListMLELambdaWeight, PListMLELoss};
pub use rank_net::RankNetLoss;
pub use table::CROSS_ENCODER_LOSSES;
pub use weighting_scheme::WeightingScheme;
