//! Evaluators of dual encoders, and of whatever else embeds texts.

mod at_k;
mod binary_classification;
mod cached_embeddings;
mod embedding_similarity;
mod embeddings;
mod information_retrieval;
mod mse;
mod nano_beir;
mod paraphrase_mining;
mod reranking;
mod retrieval_settings;
mod retrieved;
mod translation;
mod triplet;
mod truncated;

pub use at_k::RetrievalAtK;
pub use binary_classification::BinaryClassificationEvaluator;
pub use cached_embeddings::CachedEmbeddings;
pub use embedding_similarity::EmbeddingSimilarityEvaluator;
pub use information_retrieval::InformationRetrievalEvaluator;
pub use mse::MSEEvaluator;
pub(super) use nano_beir::readable;
pub use nano_beir::{NANO_BEIR_NAMES, NanoBEIREvaluator};
pub use paraphrase_mining::ParaphraseMiningEvaluator;
pub use reranking::RerankingEvaluator;
pub use retrieval_settings::RetrievalSettings;
pub use translation::TranslationEvaluator;
pub use triplet::TripletEvaluator;
pub use truncated::{Truncate, TruncatedEvaluator, at_dimensions};
