//! Evaluators: the keys, CSV files and tie rules of sentence-transformers.

mod cached_scores;
pub mod cascade;
mod changes;
mod classification;
mod correlation;
mod details;
mod dual_encoder;
mod evaluator;
mod first_stage;
mod judgements;
mod nano_beir_means;
mod nano_beir_reranking;
mod rankings;
mod record;
mod relevance;
mod reranking;
mod samples;
mod sequential;
mod statistics;
mod thresholds;

pub use cached_scores::CachedScores;
pub use classification::CrossEncoderClassificationEvaluator;
pub use correlation::CrossEncoderCorrelationEvaluator;
pub use details::{DetailCollector, EvaluationDetails, RankedQueries, ScoreHistogram};
pub use dual_encoder::{
    BinaryClassificationEvaluator, CachedEmbeddings, EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator, MSEEvaluator, NANO_BEIR_NAMES, NanoBEIREvaluator,
    ParaphraseMiningEvaluator, RerankingEvaluator, RetrievalAtK, RetrievalSettings,
    TranslationEvaluator, TripletEvaluator, Truncate, TruncatedEvaluator, at_dimensions,
};
pub(crate) use evaluator::with_name;
pub use evaluator::{EvaluationContext, Evaluator};
pub use first_stage::{FirstStage, FirstStageOptions, samples_from_first_stage};
pub use nano_beir_reranking::{CrossEncoderNanoBEIREvaluator, nano_beir_samples};
pub use reranking::CrossEncoderRerankingEvaluator;
pub use samples::{Candidates, RerankingSample, reranking_samples};
pub use sequential::SequentialEvaluator;
pub use statistics::{pearson, spearman};
