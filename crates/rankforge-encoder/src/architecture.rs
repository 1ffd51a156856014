use crate::{EncoderConfig, EncoderError, HeadStage};
use std::ops::Range;
use std::path::Path;

/// What the transformer directory's weights are read as.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Hidden states only, as transformers' `AutoModel`.
    FeatureExtraction,
    /// With the family's classification head, as `AutoModelForSequenceClassification`.
    SequenceClassification {
        /// Scores for each input.
        num_labels: usize,
    },
}

/// How a fresh parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initializer {
    /// Zeros (biases).
    Zeros,
    /// Ones (norm weights).
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
    /// Normal with this standard deviation, cut at so many of them.
    TruncatedNormal {
        /// Standard deviation before the cut.
        deviation: f32,
        /// Where it is cut, in standard deviations.
        cutoff: f32,
    },
    /// Uniform in `-bound..bound` (PyTorch's `Linear`).
    Uniform(f32),
}

/// A tensor of a checkpoint and the rows of an arena matrix that hold it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorPart {
    /// Folder of the module that holds it, `""` for the transformer itself.
    pub module: String,
    /// Name in `model.safetensors`.
    pub name: String,
    /// Shape in the file; its count of numbers is that of the rows.
    pub shape: Vec<usize>,
    /// Rows of the matrix (fused query, key and value projections hold three tensors).
    pub rows: Range<usize>,
}

/// One matrix of the parameter arena.
#[derive(Clone, Debug, PartialEq)]
pub struct ParameterSpec {
    /// Arena name.
    pub name: String,
    /// Rows; vectors are one row.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// The checkpoint tensors it is made of.
    pub parts: Vec<TensorPart>,
    /// How it starts when the checkpoint has none.
    pub initializer: Initializer,
}

/// A model without its numbers: the encoder, what follows it, and every parameter.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The transformer.
    pub encoder: EncoderConfig,
    /// What turns hidden states into outputs, in order.
    pub head: Vec<HeadStage>,
    /// Every parameter, in arena order.
    pub parameters: Vec<ParameterSpec>,
}

impl Architecture {
    /// Reads a Hugging Face `config.json`; `path` is for errors.
    ///
    /// # Errors
    /// An unknown `model_type` (the message lists the known ones), or a field that is missing,
    /// of the wrong type or not supported.
    pub fn from_config(
        config: &serde_json::Value,
        path: &Path,
        task: &Task,
    ) -> Result<Architecture, EncoderError> {
        unimplemented!()
    }

    /// A static embedding model: a table of `vocab_size x width` and no block.
    /// `tensor` is its name in `module`'s safetensors file.
    pub fn static_embedding(
        vocab_size: usize,
        width: usize,
        module: &str,
        tensor: &str,
    ) -> Architecture {
        unimplemented!()
    }

    /// Appends a stage to the head; a stage with parameters takes them from `module`'s
    /// safetensors file under the names of sentence-transformers (`linear.weight`, `norm.weight`, ...).
    pub fn push_stage(&mut self, stage: HeadStage, module: &str) {
        unimplemented!()
    }

    /// Width of the outputs: number of labels, or embedding dimension.
    pub fn output_columns(&self) -> usize {
        unimplemented!()
    }
}
