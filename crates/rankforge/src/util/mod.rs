//! Functions of embeddings: searching, finding paraphrases and communities, and quantising. Names
//! and defaults are those of `sentence_transformers.util`.

mod community_detection;
mod paraphrase_mining;
mod quantization;
mod semantic_search;

pub use community_detection::{CommunityOptions, community_detection};
pub use paraphrase_mining::{ParaphraseOptions, ParaphrasePair, paraphrase_mining};
pub use quantization::{
    EmbeddingPrecision, QuantizationRanges, QuantizedEmbeddings, QuantizedValues,
    quantize_embeddings,
};
pub use semantic_search::{SemanticSearchOptions, merge_hits, semantic_search};
