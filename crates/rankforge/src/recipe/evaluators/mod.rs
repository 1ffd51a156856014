//! Evaluators as recipes and the command line describe them: those of a kind of model are a file
//! here.

mod cross_encoder;
mod dual_encoder;
mod location;
mod section;

pub use cross_encoder::{CorrelationSection, CrossEncoderEvaluator, RerankingSection};
pub use dual_encoder::DualEncoderEvaluator;
pub(super) use section::{EvaluatorSection, build_evaluators, read_evaluators};
