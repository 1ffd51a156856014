use crate::{EncoderError, LoadOptions, Model, Outputs, Reporter, Tokenizer};
use std::path::Path;

/// What `predict` applies to the logits; training losses never see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputActivation {
    /// `torch.nn.modules.linear.Identity`.
    Identity,
    /// `torch.nn.modules.activation.Sigmoid`.
    Sigmoid,
    /// `torch.nn.modules.activation.Tanh`.
    Tanh,
}

/// How [`CrossEncoder::predict`] works.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictOptions {
    /// Most pairs in a batch.
    pub batch_size: usize,
    /// Most tokens in a batch; a single longer pair is a batch of its own.
    pub max_tokens: usize,
    /// In place of the model's own activation, for this call.
    pub activation_fn: Option<OutputActivation>,
    /// Softmax over the labels, after the activation, for models of several labels.
    pub apply_softmax: bool,
    /// Prepended to the first text of each pair.
    pub prompt: Option<String>,
    /// Name of a prompt of the model, when `prompt` is `None`.
    pub prompt_name: Option<String>,
}

impl Default for PredictOptions {
    fn default() -> PredictOptions {
        PredictOptions {
            batch_size: 32,
            max_tokens: 8192,
            activation_fn: None,
            apply_softmax: false,
            prompt: None,
            prompt_name: None,
        }
    }
}

/// A document's place in a ranking.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranked {
    /// Index in the documents given.
    pub corpus_id: usize,
    /// Score after the activation.
    pub score: f32,
}

/// A reranker: reads two texts together and scores them.
#[derive(Clone)]
pub struct CrossEncoder {
    // Model, tokenizer, activation, prompts, files to write back.
}

impl CrossEncoder {
    /// Opens a model directory: a plain transformers checkpoint or any of the three generations of
    /// sentence-transformers layouts, modular ones included. Tells `reporter` which tensors are
    /// fresh and which were left over.
    ///
    /// # Errors
    /// Whatever is wrong with the directory, with file, field, expected and got.
    pub fn load(
        path: &Path,
        options: &LoadOptions,
        reporter: &dyn Reporter,
    ) -> Result<CrossEncoder, EncoderError> {
        unimplemented!()
    }

    /// Writes the newest layout, to a temporary directory beside `path`, then renames it.
    ///
    /// # Errors
    /// When `path` exists and is not an earlier model directory, or a file cannot be written.
    pub fn save(&self, path: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        unimplemented!()
    }

    /// Scores pairs: sorted by length, batched by tokens, activation applied, in input order.
    ///
    /// # Shapes
    /// `B` pairs give `B x num_labels`.
    ///
    /// # Errors
    /// Unknown prompt name, batch size 0, or a text the tokenizer refuses.
    pub fn predict(
        &self,
        pairs: &[(&str, &str)],
        options: &PredictOptions,
        reporter: &dyn Reporter,
    ) -> Result<Outputs, EncoderError> {
        unimplemented!()
    }

    /// Ranks documents for a query, best first, ties in input order.
    ///
    /// # Errors
    /// When the model has several labels, or as [`CrossEncoder::predict`].
    pub fn rank(
        &self,
        query: &str,
        documents: &[&str],
        top_k: Option<usize>,
        options: &PredictOptions,
        reporter: &dyn Reporter,
    ) -> Result<Vec<Ranked>, EncoderError> {
        unimplemented!()
    }

    /// Scores for each pair.
    pub fn num_labels(&self) -> usize {
        unimplemented!()
    }

    /// What `predict` applies by default.
    pub fn activation_fn(&self) -> OutputActivation {
        unimplemented!()
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> Option<usize> {
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
