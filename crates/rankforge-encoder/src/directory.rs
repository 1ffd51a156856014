use crate::{EncoderError, Model, OutputActivation, Tokenizer};
use rankforge_kernels::Device;
use std::path::Path;

/// How a model directory is opened.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Where the model lives.
    pub device: Device,
    /// Number of labels, for cross-encoders; `None` follows the rules of sentence-transformers.
    pub num_labels: Option<usize>,
    /// Longest sequence; `None` follows the directory's files.
    pub max_length: Option<usize>,
    /// Output activation of a cross-encoder; `None` follows the directory's files.
    pub activation_fn: Option<OutputActivation>,
    /// Dropout before the classifier, in place of the config's.
    pub classifier_dropout: Option<f32>,
    /// Embeddings keep so many leading dimensions.
    pub truncate_dim: Option<usize>,
    /// Seed of freshly initialised parameters.
    pub seed: u64,
}

impl LoadOptions {
    /// The defaults: everything follows the directory's files, seed 42.
    pub fn new(device: &Device) -> LoadOptions {
        LoadOptions {
            device: device.clone(),
            num_labels: None,
            max_length: None,
            activation_fn: None,
            classifier_dropout: None,
            truncate_dim: None,
            seed: 42,
        }
    }
}

/// What the trainer needs of a cross-encoder or dual encoder.
pub trait Trainable: Send + Sync {
    /// The numbers.
    fn model(&self) -> &Model;
    /// The numbers, for the optimizer.
    fn model_mut(&mut self) -> &mut Model;
    /// The tokenizer.
    fn tokenizer(&self) -> &Tokenizer;
    /// `CrossEncoder` or `SentenceTransformer`.
    fn model_type(&self) -> &'static str;
    /// Labels of a cross-encoder; 0 for a dual encoder.
    fn num_labels(&self) -> usize;
    /// Name or path the model was loaded from, for the model card.
    fn base_model(&self) -> &str;
    /// The prompt that training prepends to the first text of each input, if any.
    fn default_prompt(&self) -> Option<&str>;
    /// Writes the newest sentence-transformers layout into a new or empty directory, which the
    /// caller has given a temporary name; `card` becomes `README.md`.
    ///
    /// # Errors
    /// When a file cannot be written.
    fn save_files(&self, directory: &Path, card: Option<&str>) -> Result<(), EncoderError>;
    /// Replaces the parameters by those of a directory that [`Trainable::save_files`] wrote.
    ///
    /// # Errors
    /// When a file cannot be read or does not fit.
    fn load_parameters(&mut self, directory: &Path) -> Result<(), EncoderError>;
}
