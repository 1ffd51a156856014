//! The traits through which other crates use a model.
//!
//! [`TextModel`] is a model with its parameters, tokenizer and files, as training, saving and
//! serving need them. [`Score`] and [`Embed`] are the two things that a model can compute. Neither
//! requires a [`TextModel`], so a cache in front of a model, a table of scores in a test or a
//! client of a remote service can implement them too. [`TextModel::as_score`] and
//! [`TextModel::as_embed`] give the one that a model implements.

use crate::error::EncoderError;
use crate::lora::LoraConfig;
use crate::model::Model;
use crate::options::{EncodeOptions, PredictOptions};
use crate::outputs::Outputs;
use crate::parts::Parts;
use crate::tokenizer::Tokenizer;
use indexmap::IndexMap;
use rankforge_kernels::Device;
use rankforge_kernels::ops::Similarity;
use serde_json::Value;
use std::fmt;
use std::path::Path;

/// The two kinds of models. The names are those of `model_type` in the files of
/// sentence-transformers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelKind {
    /// A model that scores pairs of texts.
    CrossEncoder,
    /// A model that turns a text into an embedding.
    SentenceTransformer,
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ModelKind::CrossEncoder => "CrossEncoder",
            ModelKind::SentenceTransformer => "SentenceTransformer",
        })
    }
}

/// A model with its parameters, tokenizer, prompts and files.
pub trait TextModel: Send + Sync {
    /// Parameters, tokenizer, prompts and files.
    fn parts(&self) -> &Parts;

    /// Parameters, tokenizer, prompts and files, for training.
    fn parts_mut(&mut self) -> &mut Parts;

    /// The kind of the model.
    fn kind(&self) -> ModelKind;

    /// Fields that this kind of model adds to `config_sentence_transformers.json`.
    fn config_fields(&self) -> Vec<(&'static str, Value)>;

    /// The model as a [`Score`]; `None` when it does not give one score per pair.
    fn as_score(&self) -> Option<&dyn Score> {
        None
    }

    /// The model as an [`Embed`]; `None` when it does not embed texts.
    fn as_embed(&self) -> Option<&dyn Embed> {
        None
    }

    /// Architecture and parameters.
    fn model(&self) -> &Model {
        &self.parts().model
    }

    /// Architecture and parameters, for the optimizer.
    fn model_mut(&mut self) -> &mut Model {
        &mut self.parts_mut().model
    }

    /// The tokenizer.
    fn tokenizer(&self) -> &Tokenizer {
        &self.parts().tokenizer
    }

    /// Maximum length of a sequence in tokens, including special tokens; `None` is no limit.
    fn max_length(&self) -> Option<usize> {
        self.tokenizer().max_length()
    }

    /// The model's prompts: name to text.
    fn prompts(&self) -> &IndexMap<String, String> {
        &self.parts().prompts
    }

    /// Name or path that the model was loaded from.
    fn base_model(&self) -> &str {
        &self.parts().base_model
    }

    /// Adds low-rank adapters, and freezes the rest of the transformer except for its
    /// classification head and the other modules that the config says to save. `seed` determines
    /// the adapters. A model with adapters is saved without the parameters of its base model, in
    /// the layout of peft; [`Model::merge_adapter`] makes it one without adapters.
    ///
    /// # Errors
    /// As [`Model::add_adapter`]; a model whose parameters are not those in the directory that it
    /// was opened from, or that was opened with an adapter.
    fn add_adapter(&mut self, config: &LoraConfig, seed: u64) -> Result<(), EncoderError> {
        self.parts_mut().add_adapter(config, seed)
    }

    /// Writes all files of the model into a new or empty directory. `card` becomes `README.md`.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn save_files(&self, directory: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        self.parts().write(directory, self.kind(), self.config_fields(), card)
    }

    /// Replaces the parameters by those in a directory that [`TextModel::save_files`] wrote.
    ///
    /// # Errors
    /// When a file cannot be read, or when its tensors are not those of the model.
    fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError> {
        self.parts_mut().load_parameters(directory)
    }
}

/// Gives one relevance score per pair of texts; a higher score is more relevant.
pub trait Score: Send + Sync {
    /// One score per pair, after the output activation, in the order of the pairs.
    ///
    /// # Errors
    /// A model with several labels, or the errors of
    /// [`CrossEncoder::predict_with`](crate::CrossEncoder::predict_with).
    fn score(
        &self,
        pairs: &[(&str, &str)],
        options: &PredictOptions,
    ) -> Result<Vec<f32>, EncoderError>;
}

/// What texts are embedded as: queries and documents may have different prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// A text that is searched with.
    Query,
    /// A text of the corpus.
    Document,
    /// Neither, such as one of two sentences that are compared: the default prompt.
    Text,
}

/// Turns texts into embeddings whose similarity says how relevant a document is to a query.
pub trait Embed: Send + Sync {
    /// One embedding per text, with the prompt for its side unless `options` has a prompt or a
    /// prompt name.
    ///
    /// # Shapes
    /// `B` texts give `B x E`, in the order of the texts.
    ///
    /// # Errors
    /// The errors of [`DualEncoder::encode_with`](crate::DualEncoder::encode_with).
    fn embed(
        &self,
        side: Side,
        texts: &[&str],
        options: &EncodeOptions,
    ) -> Result<Outputs, EncoderError>;

    /// The similarity function for the embeddings.
    fn similarity(&self) -> Similarity;

    /// The device on which similarities are computed.
    fn device(&self) -> &Device;

    /// A key for caches of embeddings: a hash of everything that the embedding of a text depends
    /// on, except the options of the call. Models with equal fingerprints give equal embeddings.
    ///
    /// # Errors
    /// When it cannot be computed.
    fn fingerprint(&self) -> Result<String, EncoderError>;
}
