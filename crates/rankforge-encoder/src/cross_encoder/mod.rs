mod load;

use crate::directory::json;
use crate::directory::write::{ModelFiles, replace_directory};
use crate::inference::Inference;
use crate::{
    EncoderError, Input, LoadOptions, Model, Outputs, Reporter, Tokenizer, Trainable, directory,
};
use serde_json::{Value, json};
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

impl OutputActivation {
    /// Its name in Python.
    pub fn python_name(self) -> &'static str {
        match self {
            OutputActivation::Identity => "torch.nn.modules.linear.Identity",
            OutputActivation::Sigmoid => "torch.nn.modules.activation.Sigmoid",
            OutputActivation::Tanh => "torch.nn.modules.activation.Tanh",
        }
    }

    /// Sigmoid for one label, as sentence-transformers has it, and no change for several.
    pub fn default_for(num_labels: usize) -> OutputActivation {
        if num_labels == 1 { OutputActivation::Sigmoid } else { OutputActivation::Identity }
    }

    /// The number it makes of a logit.
    pub fn apply(self, logit: f32) -> f32 {
        match self {
            OutputActivation::Identity => logit,
            OutputActivation::Sigmoid => 1.0 / (1.0 + (-logit).exp()),
            OutputActivation::Tanh => logit.tanh(),
        }
    }

    /// By its name in Python; `None`, with a warning, for a class from outside torch.
    fn from_python(
        name: &str,
        path: &Path,
        field: &str,
        reporter: &dyn Reporter,
    ) -> Result<Option<OutputActivation>, EncoderError> {
        if !name.starts_with("torch.") {
            reporter.warning(&format!(
                "{}: {field} {name} is not one of torch; using the default",
                path.display()
            ));
            return Ok(None);
        }
        match name.rsplit('.').next() {
            Some("Identity") => Ok(Some(OutputActivation::Identity)),
            Some("Sigmoid") => Ok(Some(OutputActivation::Sigmoid)),
            Some("Tanh") => Ok(Some(OutputActivation::Tanh)),
            _ => {
                let expected = "Identity, Sigmoid or Tanh of torch.nn";
                Err(json::field_error(path, field, expected, Some(&json!(name))))
            }
        }
    }
}

/// How [`CrossEncoder::predict`] works.
#[derive(Clone, Debug, PartialEq)]
pub struct PredictOptions {
    /// Most pairs in a batch; by default, only the tokens are bounded.
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
            batch_size: usize::MAX,
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
    model: Model,
    tokenizer: Tokenizer,
    activation: OutputActivation,
    num_labels: usize,
    labels: Vec<String>,
    files: ModelFiles,
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
        load::load(path, options, reporter)
    }

    /// A cross-encoder with fresh numbers: a transformers `config.json` and a tokenizer.
    ///
    /// # Errors
    /// A config that no family has, or a tokenizer with more ids than the config.
    pub fn from_config(
        config: &Value,
        tokenizer: Tokenizer,
        options: &LoadOptions,
        reporter: &dyn Reporter,
    ) -> Result<CrossEncoder, EncoderError> {
        load::from_config(config, tokenizer, options, reporter)
    }

    /// Writes the newest layout, to a temporary directory beside `path`, then renames it.
    ///
    /// # Errors
    /// When `path` exists and is not an earlier model directory, or a file cannot be written.
    pub fn save(&self, path: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        replace_directory(path, |directory| self.save_files(directory, card))
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
        let prompt =
            self.files.prompt(options.prompt.as_deref(), options.prompt_name.as_deref())?;
        let inference = Inference {
            model: &self.model,
            tokenizer: &self.tokenizer,
            batch_size: options.batch_size,
            max_tokens: options.max_tokens,
            prompt,
            task: "Scoring",
            unit: "pairs",
        };
        let inputs: Vec<Input<'_>> =
            pairs.iter().map(|(first, second)| Input::Pair(first, second)).collect();
        let mut outputs = inference.run(&inputs, reporter)?;
        let activation = options.activation_fn.unwrap_or(self.activation);
        for value in &mut outputs.values {
            *value = activation.apply(*value);
        }
        if options.apply_softmax && self.num_labels > 1 {
            outputs.values.chunks_mut(self.num_labels).for_each(softmax);
        }
        Ok(outputs)
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
        if self.num_labels != 1 {
            return Err(EncoderError::Input(format!(
                "ranking only works for models with num_labels=1, and this one has {}: use predict",
                self.num_labels
            )));
        }
        let pairs: Vec<(&str, &str)> =
            documents.iter().map(|document| (query, *document)).collect();
        let scores = self.predict(&pairs, options, reporter)?.values;
        let mut ranking: Vec<Ranked> = scores
            .into_iter()
            .enumerate()
            .map(|(corpus_id, score)| Ranked { corpus_id, score })
            .collect();
        ranking.sort_by(|a, b| b.score.total_cmp(&a.score));
        ranking.truncate(top_k.unwrap_or(usize::MAX));
        Ok(ranking)
    }

    /// Scores for each pair.
    pub fn num_labels(&self) -> usize {
        self.num_labels
    }

    /// What the scores of a pair are called (`id2label`).
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// What `predict` applies by default.
    pub fn activation_fn(&self) -> OutputActivation {
        self.activation
    }

    /// Longest sequence, special tokens included.
    pub fn max_length(&self) -> Option<usize> {
        self.tokenizer.max_length()
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
}

impl Trainable for CrossEncoder {
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
        self.num_labels
    }

    fn base_model(&self) -> &str {
        &self.files.base_model
    }

    fn default_prompt(&self) -> Option<&str> {
        directory::default_prompt(&self.files)
    }

    fn save_files(&self, directory: &Path, card: Option<&str>) -> Result<(), EncoderError> {
        let fields = vec![("activation_fn", json!(self.activation.python_name()))];
        self.files.write(directory, &self.model, &self.tokenizer, fields, card)
    }

    fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError> {
        directory::load_parameters(&mut self.model, directory)
    }
}

/// `e^x / sum(e^x)`, in place.
fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}
