//! Evaluators as recipes and the command line describe them: those of a kind of model are a file
//! here.

mod collections;
mod cross_encoder;
mod dual_encoder;
mod embedding_section;
mod fields;
mod location;
mod pairs;
mod rankings;
mod reranker;
mod section;

pub use cross_encoder::{CrossEncoderEvaluator, RerankingSection};
pub use dual_encoder::DualEncoderEvaluator;
pub use fields::{Dimensions, Margins, SimilarityName};
pub use pairs::{
    BinaryClassificationSection, EmbeddingSimilaritySection, MSESection, TranslationSection,
    TripletSection,
};
pub use rankings::{
    DualEncoderRerankingSection, InformationRetrievalSection, NanoBEIRSection,
    ParaphraseMiningSection,
};
pub use reranker::{LabeledPairsSection, NanoBEIRRerankingSection};
pub(super) use section::{EvaluatorSection, build_evaluators, read_evaluators};
