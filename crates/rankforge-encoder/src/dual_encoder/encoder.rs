use crate::directory::write::MODEL_DIRECTORY;
use crate::error::EncoderError;
use crate::inference::Inference;
use crate::input::Input;
use crate::options::EncodeOptions;
use crate::outputs::Outputs;
use crate::parts::Parts;
use crate::roles::{Embed, ModelKind, Side, TextModel};
use crate::stages::HeadStage;
use indexmap::IndexMap;
use rankforge_base::{hexadecimal, replace_directory};
use rankforge_kernels::Device;
use rankforge_kernels::ops::{Pooling, Similarity};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Maximum number of elements of table rows, tokens x width, in a batch of a static embedding
/// model. Such a model has no activations whose memory would have to be bounded; with this size the
/// cost of starting the threads is small in comparison.
const STATIC_BATCH_ELEMENTS: usize = 1 << 25;

/// A model that turns a text into an embedding: a SentenceTransformer, including static embedding
/// models, which have no transformer blocks.
#[derive(Clone)]
pub struct DualEncoder {
    pub(crate) parts: Parts,
    pub(crate) similarity: Similarity,
    /// Number of leading dimensions to which embeddings are truncated by default.
    pub(crate) truncate_dim: Option<usize>,
}

impl DualEncoder {
    /// Writes a model directory in the newest layout of sentence-transformers. An earlier model
    /// directory at `path` is replaced as a whole. `card` becomes `README.md`.
    ///
    /// # Errors
    /// When `path` exists and is not a model directory, or a file cannot be written. What was at
    /// `path` is then left unchanged.
    pub fn save(&self, path: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        replace_directory(path, &MODEL_DIRECTORY, |directory| self.save_files(directory, card))
    }

    /// Embeds texts with the default prompt and options.
    ///
    /// # Shapes
    /// `B` texts give `B x E`, in the order of the texts.
    ///
    /// # Errors
    /// A text that the tokenizer fails on, or an embedding that is not finite.
    pub fn encode(&self, texts: &[&str]) -> Result<Outputs, EncoderError> {
        self.encode_with(texts, &EncodeOptions::default())
    }

    /// Embeds texts, truncates the embeddings to the leading `truncate_dim` dimensions, and then
    /// normalises them when [`EncodeOptions::normalize_embeddings`] is set.
    ///
    /// Texts are sorted by length and batched by tokens, so that a batch has sequences of similar
    /// length.
    ///
    /// # Shapes
    /// `B` texts give `B x E`, in the order of the texts.
    ///
    /// # Errors
    /// The errors of [`DualEncoder::encode`], an unknown prompt name, or a `batch_size`,
    /// `max_tokens` or `truncate_dim` of 0.
    pub fn encode_with(
        &self,
        texts: &[&str],
        options: &EncodeOptions,
    ) -> Result<Outputs, EncoderError> {
        if options.truncate_dim == Some(0) {
            return Err(EncoderError::argument("truncate_dim", "a positive number", 0));
        }
        let mut inference = Inference {
            parts: &self.parts,
            batch_size: options.batch_size,
            max_tokens: options.max_tokens,
            prompt: self.parts.prompt(options.prompt.as_deref(), options.prompt_name.as_deref())?,
            task: "Encoding",
            unit: "texts",
            reporter: &*options.reporter,
        };
        if self.is_static() && options.batch_size > 0 && options.max_tokens > 0 {
            inference.batch_size = usize::MAX;
            inference.max_tokens =
                (STATIC_BATCH_ELEMENTS / self.model().architecture().encoder.hidden_size).max(1);
        }
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::single(*text)).collect();
        let outputs = inference.run(&inputs)?;
        let dimension = options.truncate_dim.or(self.truncate_dim).unwrap_or(outputs.columns);
        let mut outputs = outputs.truncated(dimension);
        if options.normalize_embeddings {
            outputs.normalize();
        }
        Ok(outputs)
    }

    /// [`DualEncoder::encode_with`] with the prompt for queries or documents, unless `options` has
    /// a prompt or a prompt name.
    ///
    /// The prompt for queries is `query`. That for documents is the first of `document`, `passage`
    /// and `corpus` that the model has. Without such a prompt, and for texts that are neither, the
    /// default prompt is used.
    ///
    /// # Errors
    /// The errors of [`DualEncoder::encode_with`].
    pub fn encode_side(
        &self,
        side: Side,
        texts: &[&str],
        options: &EncodeOptions,
    ) -> Result<Outputs, EncoderError> {
        let names: &[&str] = match side {
            Side::Query => &["query"],
            Side::Document => &["document", "passage", "corpus"],
            Side::Text => &[],
        };
        let mut options = options.clone();
        if options.prompt.is_none() && options.prompt_name.is_none() {
            let known = names.iter().find(|name| self.parts.prompts.contains_key(**name));
            options.prompt_name = known.map(|name| (*name).to_owned());
        }
        self.encode_with(texts, &options)
    }

    /// Embeds queries with the prompt for queries and the default options.
    ///
    /// # Errors
    /// The errors of [`DualEncoder::encode`].
    pub fn encode_query(&self, texts: &[&str]) -> Result<Outputs, EncoderError> {
        self.encode_side(Side::Query, texts, &EncodeOptions::default())
    }

    /// Embeds documents with the prompt for documents and the default options.
    ///
    /// # Errors
    /// The errors of [`DualEncoder::encode`].
    pub fn encode_document(&self, texts: &[&str]) -> Result<Outputs, EncoderError> {
        self.encode_side(Side::Document, texts, &EncodeOptions::default())
    }

    /// Adds prompts to those of the model, which they replace under the same name, and sets the
    /// name of the default prompt where one is given.
    ///
    /// # Errors
    /// A default that is none of the model's prompts, or a prompt that the tokenizer fails on.
    pub fn set_prompts(
        &mut self,
        prompts: &IndexMap<String, String>,
        default: Option<&str>,
    ) -> Result<(), EncoderError> {
        let parts = &mut self.parts;
        parts.prompts.extend(prompts.iter().map(|(name, text)| (name.clone(), text.clone())));
        if let Some(name) = default {
            parts.default_prompt_name = Some(name.to_owned());
        }
        prompts.keys().try_for_each(|name| parts.prompt(None, Some(name)).map(drop))?;
        parts.prompt(None, None).map(drop)
    }

    /// The name of the model's similarity in sentence-transformers, such as `cosine`.
    pub fn similarity_name(&self) -> &'static str {
        self.similarity.name()
    }

    /// Embedding dimension, `E`, after truncation by the model's own `truncate_dim`.
    pub fn dimension(&self) -> usize {
        let columns = self.model().architecture().output_columns();
        self.truncate_dim.map_or(columns, |dimension| dimension.min(columns))
    }

    /// The pooling modes, whose outputs are concatenated.
    pub fn pooling(&self) -> &[Pooling] {
        match self.model().architecture().head.first() {
            Some(HeadStage::Pool { modes, .. }) => modes,
            _ => &[],
        }
    }

    /// Whether this is a static embedding model.
    pub fn is_static(&self) -> bool {
        self.model().architecture().encoder.blocks.is_empty()
    }
}

impl TextModel for DualEncoder {
    fn parts(&self) -> &Parts {
        &self.parts
    }

    fn parts_mut(&mut self) -> &mut Parts {
        &mut self.parts
    }

    fn kind(&self) -> ModelKind {
        ModelKind::SentenceTransformer
    }

    fn config_fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![("similarity_fn_name", json!(self.similarity_name()))];
        if let Some(dimension) = self.truncate_dim {
            fields.push(("truncate_dim", json!(dimension)));
        }
        fields
    }

    fn as_embed(&self) -> Option<&dyn Embed> {
        Some(self)
    }
}

impl Embed for DualEncoder {
    fn embed(
        &self,
        side: Side,
        texts: &[&str],
        options: &EncodeOptions,
    ) -> Result<Outputs, EncoderError> {
        self.encode_side(side, texts, options)
    }

    fn similarity(&self) -> Similarity {
        self.similarity
    }

    fn device(&self) -> &Device {
        self.model().device()
    }

    /// The SHA-256 of [`Parts::digest`], dimension and precision, in hexadecimal. It does not
    /// depend on the model's path, so a cache never returns embeddings of an earlier state of a
    /// model that was trained further under the same path.
    fn fingerprint(&self) -> Result<String, EncoderError> {
        let mut hash = Sha256::new();
        hash.update(format!("{} {}", self.parts.digest()?, self.dimension()));
        // Where the precision has no effect, all have the same embeddings.
        if self.model().architecture().has_linear_layers() {
            hash.update(self.model().precision().to_string());
        }
        Ok(hexadecimal(&hash.finalize()))
    }
}
