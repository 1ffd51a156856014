mod load;
mod static_embedding;

use crate::directory::write::{ModelFiles, replace_directory};
use crate::inference::Inference;
use crate::{
    EncoderError, HeadStage, Input, LoadOptions, Model, Outputs, Reporter, Tokenizer, Trainable,
    directory,
};
use rankforge_kernels::ops::{Pooling, Similarity};
use serde_json::json;
use std::path::Path;

/// Numbers of the rows that a batch of a static embedding model sums: enough that starting the threads does not count.
const STATIC_BUDGET: usize = 1 << 25;

const SIMILARITIES: [(Similarity, &str); 4] = [
    (Similarity::Cosine, "cosine"),
    (Similarity::Dot, "dot"),
    (Similarity::Euclidean, "euclidean"),
    (Similarity::Manhattan, "manhattan"),
];

/// How [`DualEncoder::encode`] works.
#[derive(Clone, Debug, PartialEq)]
pub struct EncodeOptions {
    /// Most texts in a batch; by default, only the tokens are bounded. Static embedding models take
    /// as many as their memory budget allows.
    pub batch_size: usize,
    /// Most tokens in a batch, likewise; a single longer text is a batch of its own.
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
            batch_size: usize::MAX,
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
    model: Model,
    tokenizer: Tokenizer,
    similarity: Similarity,
    truncate_dim: Option<usize>,
    files: ModelFiles,
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
        load::load(path, options, reporter)
    }

    /// A fresh static embedding model over a tokenizer, rows drawn from a normal distribution of
    /// deviation `1 / sqrt(width)`.
    pub fn new_static(tokenizer: Tokenizer, width: usize, options: &LoadOptions) -> DualEncoder {
        static_embedding::fresh(tokenizer, width, options)
    }

    /// Writes the newest layout, to a temporary directory beside `path`, then renames it.
    ///
    /// # Errors
    /// When `path` exists and is not an earlier model directory, or a file cannot be written.
    pub fn save(&self, path: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        replace_directory(path, |directory| self.save_files(directory, card))
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
        let prompt =
            self.files.prompt(options.prompt.as_deref(), options.prompt_name.as_deref())?;
        if options.truncate_dim == Some(0) {
            return Err(EncoderError::Input("truncate_dim must be positive".to_owned()));
        }
        let mut inference = Inference {
            model: &self.model,
            tokenizer: &self.tokenizer,
            batch_size: options.batch_size,
            max_tokens: options.max_tokens,
            prompt,
            task: "Encoding",
            unit: "texts",
        };
        if self.is_static() && options.batch_size > 0 && options.max_tokens > 0 {
            inference.batch_size = usize::MAX;
            inference.max_tokens =
                (STATIC_BUDGET / self.model.architecture().encoder.hidden_size).max(1);
        }
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Single(text)).collect();
        let outputs = inference.run(&inputs, reporter)?;
        let dimension = options.truncate_dim.or(self.truncate_dim).unwrap_or(outputs.columns);
        let mut outputs = truncate(outputs, dimension);
        if options.normalize_embeddings {
            outputs.values.chunks_mut(outputs.columns).for_each(normalize);
        }
        Ok(outputs)
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
        self.encode(texts, &self.with_prompt(options, &["query"]), reporter)
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
        let names = ["document", "passage", "corpus"];
        self.encode(texts, &self.with_prompt(options, &names), reporter)
    }

    /// How its embeddings are compared.
    pub fn similarity(&self) -> Similarity {
        self.similarity
    }

    /// The name sentence-transformers has for [`DualEncoder::similarity`].
    pub fn similarity_name(&self) -> &'static str {
        let known = SIMILARITIES.iter().find(|(similarity, _)| *similarity == self.similarity);
        known.expect("all are listed").1
    }

    /// Embedding dimension, `E`.
    pub fn dimension(&self) -> usize {
        let columns = self.model.architecture().output_columns();
        self.truncate_dim.map_or(columns, |dimension| dimension.min(columns))
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> Option<usize> {
        self.tokenizer.max_length()
    }

    /// How the tokens of a text become one vector.
    pub fn pooling(&self) -> &[Pooling] {
        match self.model.architecture().head.first() {
            Some(HeadStage::Pool { modes, .. }) => modes,
            _ => &[],
        }
    }

    /// Whether it is a static embedding model.
    pub fn is_static(&self) -> bool {
        self.model.architecture().encoder.blocks.is_empty()
    }

    /// The prompts of the model: name and text.
    pub fn prompts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.files.prompts.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The numbers.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn with_prompt(&self, options: &EncodeOptions, names: &[&str]) -> EncodeOptions {
        let mut options = options.clone();
        if options.prompt.is_none() && options.prompt_name.is_none() {
            let known = names.iter().find(|name| self.files.prompts.contains_key(**name));
            options.prompt_name = known.map(|name| (*name).to_owned());
        }
        options
    }
}

impl Trainable for DualEncoder {
    fn model(&self) -> &Model {
        &self.model
    }

    fn model_mut(&mut self) -> &mut Model {
        &mut self.model
    }

    fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    fn model_type(&self) -> &'static str {
        self.files.model_type
    }

    fn num_labels(&self) -> usize {
        0
    }

    fn base_model(&self) -> &str {
        &self.files.base_model
    }

    fn default_prompt(&self) -> Option<&str> {
        directory::default_prompt(&self.files)
    }

    fn save_files(&self, directory: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        let mut fields = vec![("similarity_fn_name", json!(self.similarity_name()))];
        if let Some(dimension) = self.truncate_dim {
            fields.push(("truncate_dim", json!(dimension)));
        }
        self.files.write(directory, &self.model, &self.tokenizer, fields, card)
    }

    fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError> {
        directory::load_parameters(&mut self.model, directory)
    }
}

fn similarity_from_name(name: &str) -> Option<Similarity> {
    SIMILARITIES.iter().find(|(_, known)| *known == name).map(|(similarity, _)| *similarity)
}

/// The leading `dimension` columns.
fn truncate(outputs: Outputs, dimension: usize) -> Outputs {
    if dimension >= outputs.columns {
        return outputs;
    }
    let rows = outputs.values.chunks(outputs.columns);
    let values = rows.flat_map(|row| &row[..dimension]).copied().collect();
    Outputs { rows: outputs.rows, columns: dimension, values }
}

/// To unit length; zeros stay zeros.
fn normalize(row: &mut [f32]) {
    let norm = row.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    for value in row {
        *value /= norm;
    }
}
