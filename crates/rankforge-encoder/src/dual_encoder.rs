use crate::{EncoderError, LoadOptions, Model, Outputs, Reporter, Tokenizer};
use rankforge_kernels::ops::Similarity;
use std::path::Path;

/// How [`DualEncoder::encode`] works.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeOptions {
    /// Most texts in a batch.
    pub batch_size: usize,
    /// Most tokens in a batch; a single longer text is a batch of its own.
    pub max_tokens: usize,
    /// Prepended to each text.
    pub prompt: Option<String>,
    /// Name of a prompt of the model, when `prompt` is `None`.
    pub prompt_name: Option<String>,
    /// Scale the embeddings to unit length, after truncation.
    pub normalize_embeddings: bool,
    /// Keep so many leading dimensions.
    pub truncate_dim: Option<usize>,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        EncodeOptions {
            batch_size: 32,
            max_tokens: 8192,
            prompt: None,
            prompt_name: None,
            normalize_embeddings: false,
            truncate_dim: None,
        }
    }
}

/// A sentence encoder: a text becomes a vector. Static embedding models are ones with no block.
#[derive(Clone)]
pub struct DualEncoder {
    // Model, tokenizer, similarity, prompts, files to write back.
}

impl DualEncoder {
    /// Opens a sentence-transformers directory (Transformer or StaticEmbedding, Pooling, Dense,
    /// Normalize, LayerNorm), a model2vec directory, or a plain transformers checkpoint (mean pooling).
    ///
    /// # Errors
    /// Whatever is wrong with the directory, with file, field, expected and got.
    pub fn load(
        path: &Path,
        options: &LoadOptions,
        reporter: &dyn Reporter,
    ) -> Result<DualEncoder, EncoderError> {
        unimplemented!()
    }

    /// A fresh static embedding model over a tokenizer, rows drawn from a normal distribution of
    /// deviation `1 / sqrt(width)`.
    pub fn new_static(tokenizer: Tokenizer, width: usize, options: &LoadOptions) -> DualEncoder {
        unimplemented!()
    }

    /// Writes the newest layout, to a temporary directory beside `path`, then renames it.
    ///
    /// # Errors
    /// When `path` exists and is not an earlier model directory, or a file cannot be written.
    pub fn save(&self, path: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        unimplemented!()
    }

    /// Embeds texts: sorted by length, batched by tokens, in input order.
    ///
    /// # Shapes
    /// `B` texts give `B x E`.
    ///
    /// # Errors
    /// Unknown prompt name, batch size 0, or a text the tokenizer refuses.
    pub fn encode(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        unimplemented!()
    }

    /// [`DualEncoder::encode`] with the prompt called `query`, where no other is given and it exists.
    ///
    /// # Errors
    /// As [`DualEncoder::encode`].
    pub fn encode_query(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        unimplemented!()
    }

    /// [`DualEncoder::encode`] with the first prompt called `document`, `passage` or `corpus`, likewise.
    ///
    /// # Errors
    /// As [`DualEncoder::encode`].
    pub fn encode_document(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        unimplemented!()
    }

    /// How its embeddings are compared.
    pub fn similarity(&self) -> Similarity {
        unimplemented!()
    }

    /// Embedding dimension, `E`.
    pub fn dimension(&self) -> usize {
        unimplemented!()
    }

    /// The numbers.
    pub fn model(&self) -> &Model {
        unimplemented!()
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        unimplemented!()
    }
}
