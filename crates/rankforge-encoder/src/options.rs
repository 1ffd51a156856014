use crate::error::EncoderError;
use crate::output_activation::OutputActivation;
use crate::packed_weights::Packing;
use rankforge_base::{Reporter, silent};
use rankforge_kernels::ops::{Pooling, Similarity};
use rankforge_kernels::{Device, Precision};
use std::path::PathBuf;
use std::sync::Arc;

/// Default of `max_tokens`, the maximum number of tokens in a batch of inference: enough to keep
/// many cores busy, and few enough for the activations of a base-sized model to fit a few hundred
/// megabytes.
const MAX_TOKENS: usize = 8192;

/// Options of opening a model directory. With the defaults, its files determine everything, and the
/// model is on a CPU device with one thread per core.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// Device of the model. `None` opens a CPU device with one thread per core. Models on the same
    /// device share its threads.
    pub device: Option<Device>,
    /// Number of labels of a cross-encoder. `None`: as in sentence-transformers, that of the
    /// checkpoint when it is a classifier, else 1.
    pub num_labels: Option<usize>,
    /// Maximum length of a sequence in tokens; longer ones are truncated. `None`: that of the
    /// files.
    pub max_length: Option<usize>,
    /// Output activation of a cross-encoder. `None`: that of the files, else
    /// [`OutputActivation::default_for`].
    pub activation_fn: Option<OutputActivation>,
    /// Dropout probability of the classification head of a cross-encoder. `None`: that of the
    /// config.
    pub classifier_dropout: Option<f32>,
    /// Number of leading dimensions to which embeddings are truncated. `None`: that of the files.
    pub truncate_dim: Option<usize>,
    /// Pooling modes of a dual encoder with a transformer, whose outputs are concatenated. `None`:
    /// those of the files, else the mean.
    pub pooling: Option<Vec<Pooling>>,
    /// Similarity of the embeddings of a dual encoder. `None`: that of the files, else cosine.
    pub similarity: Option<Similarity>,
    /// Directory of the base model of an adapter. `None`: the one that `adapter_config.json` names.
    pub base_model: Option<PathBuf>,
    /// Seed for initialising the parameters that the checkpoint lacks. Default: 42, as for
    /// training.
    pub seed: u64,
    /// Precision to which the operands of linear layers and attention are rounded. Parameters and
    /// outputs stay `f32`. It has no effect on a model without such layers, see
    /// [`Architecture::has_linear_layers`](crate::Architecture::has_linear_layers).
    pub precision: Precision,
    /// Whether the weights of linear layers are packed for inference.
    pub packing: Packing,
    /// Receives warnings and messages about the files.
    pub reporter: Arc<dyn Reporter>,
}

impl Default for LoadOptions {
    fn default() -> LoadOptions {
        LoadOptions {
            device: None,
            num_labels: None,
            max_length: None,
            activation_fn: None,
            classifier_dropout: None,
            truncate_dim: None,
            pooling: None,
            similarity: None,
            base_model: None,
            seed: 42,
            precision: Precision::Float32,
            packing: Packing::Beside,
            reporter: silent(),
        }
    }
}

impl LoadOptions {
    /// The default options with this device.
    pub fn new(device: &Device) -> LoadOptions {
        LoadOptions { device: Some(device.clone()), ..LoadOptions::default() }
    }

    /// The device; opens one when the option is `None`.
    ///
    /// # Errors
    /// When its threads cannot be started.
    pub(crate) fn device(&self) -> Result<Device, EncoderError> {
        match &self.device {
            Some(device) => Ok(device.clone()),
            None => Ok(Device::cpu(None)?),
        }
    }
}

/// Options of scoring pairs with a cross-encoder.
#[derive(Clone, Debug)]
pub struct PredictOptions {
    /// Maximum number of pairs in a batch. Default: no limit but that of `max_tokens`.
    pub batch_size: usize,
    /// Maximum number of tokens in a batch. Default: 8,192. A longer pair is a batch of its own.
    pub max_tokens: usize,
    /// Output activation. `None`: the model's.
    pub activation_fn: Option<OutputActivation>,
    /// Whether to apply a softmax over the labels, after the activation. No effect on a model with
    /// one label.
    pub apply_softmax: bool,
    /// Prompt, prepended to the first text of each pair. An empty text is no prompt.
    pub prompt: Option<String>,
    /// Name of one of the model's prompts; used when `prompt` is `None`. When both are `None`, the
    /// model's default prompt is used.
    pub prompt_name: Option<String>,
    /// Receives the progress.
    pub reporter: Arc<dyn Reporter>,
}

impl Default for PredictOptions {
    fn default() -> PredictOptions {
        PredictOptions {
            batch_size: usize::MAX,
            max_tokens: MAX_TOKENS,
            activation_fn: None,
            apply_softmax: false,
            prompt: None,
            prompt_name: None,
            reporter: silent(),
        }
    }
}

/// Options of embedding texts with a dual encoder.
#[derive(Clone, Debug)]
pub struct EncodeOptions {
    /// Maximum number of texts in a batch. Default: no limit but that of `max_tokens`. No effect on
    /// static embedding models, which have no activations and use larger batches.
    pub batch_size: usize,
    /// Maximum number of tokens in a batch. Default: 8,192. A longer text is a batch of its own. No
    /// effect on static embedding models.
    pub max_tokens: usize,
    /// Prompt, prepended to each text. An empty text is no prompt.
    pub prompt: Option<String>,
    /// Name of one of the model's prompts; used when `prompt` is `None`. When both are `None`, the
    /// model's default prompt is used.
    pub prompt_name: Option<String>,
    /// Whether embeddings are scaled to unit length, after truncation.
    pub normalize_embeddings: bool,
    /// Number of leading dimensions to which embeddings are truncated. `None`: the model's.
    pub truncate_dim: Option<usize>,
    /// Receives the progress.
    pub reporter: Arc<dyn Reporter>,
}

impl Default for EncodeOptions {
    fn default() -> EncodeOptions {
        EncodeOptions {
            batch_size: usize::MAX,
            max_tokens: MAX_TOKENS,
            prompt: None,
            prompt_name: None,
            normalize_embeddings: false,
            truncate_dim: None,
            reporter: silent(),
        }
    }
}
