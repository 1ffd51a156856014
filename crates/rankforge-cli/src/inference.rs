//! The flags shared by the commands that run a model.

use crate::console::Console;
use crate::failure::CliError;
use rankforge::base::Reporter;
use rankforge::encoder::{
    CrossEncoder, DualEncoder, EncodeOptions, EncoderError, LoadOptions, Model, OutputActivation,
    Packing, PredictOptions, TextModel,
};
use rankforge::{Error, Precision, UnknownPrecision};
use std::path::{Path, PathBuf};

/// Batching, truncation, prompts and precision.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Inference options")]
pub(crate) struct InferenceArgs {
    /// Maximum number of texts or pairs in a batch [default: as many as fit into --max-tokens]
    ///
    /// No effect with a static embedding model, which has no batches.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_size: Option<usize>,

    /// Maximum number of tokens in a batch; limits memory use and does not change the results
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = at_least_one)]
    pub(crate) max_tokens: usize,

    /// Truncate inputs to N tokens [default: the model's max_seq_length]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) max_length: Option<usize>,

    /// Prompt prepended to each text, or to the first text of a pair [default: the model's prompt]
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_name")]
    pub(crate) prompt: Option<String>,

    /// Name of a prompt in the model's config_sentence_transformers.json, instead of --prompt
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_name: Option<String>,

    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

impl InferenceArgs {
    /// Opens a dual encoder for inference, and prints how its matrix products are computed if the
    /// precision is not the default.
    ///
    /// # Errors
    /// If the device or the model directory cannot be opened, or the precision has no effect.
    pub(crate) fn load_dual_encoder(
        &self,
        path: &Path,
        console: &Console,
    ) -> anyhow::Result<DualEncoder> {
        let load = LoadOptions {
            max_length: self.max_length,
            precision: self.precision.precision,
            packing: Packing::Instead,
            ..console.load_options()?
        };
        let model = DualEncoder::open_with(path, &load)?;
        self.precision.check(&[model.model()])?;
        self.precision.report(model.model(), console);
        Ok(model)
    }

    /// The options of `encode` that the flags describe.
    pub(crate) fn encode_options(&self, console: &Console) -> EncodeOptions {
        EncodeOptions {
            batch_size: self.batch_size.unwrap_or(usize::MAX),
            max_tokens: self.max_tokens,
            prompt: self.prompt.clone(),
            prompt_name: self.prompt_name.clone(),
            reporter: console.progress.clone(),
            ..EncodeOptions::default()
        }
    }
}

/// The precision of the model's matrix products.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct PrecisionArgs {
    /// Precision of the operands of matrix products: fp32, bf16 or fp16
    ///
    /// Linear layers and attention round their operands to it. Everything else is computed in fp32.
    #[arg(long, value_name = "NAME", global = true, default_value_t, value_parser = precision)]
    pub(crate) precision: Precision,
}

impl PrecisionArgs {
    /// Checks that the precision has an effect on at least one of `models`.
    ///
    /// # Errors
    /// If it is bf16 or fp16 and no model has a linear layer.
    pub(crate) fn check(self, models: &[&Model]) -> anyhow::Result<()> {
        let linear = |model: &&Model| model.architecture().has_linear_layers();
        if self.precision == Precision::Float32 || models.iter().any(linear) {
            return Ok(());
        }
        let message = format!(
            "--precision {}: no effect, because a static embedding model has no linear layer",
            self.precision
        );
        Err(CliError::usage(message).hint("remove --precision").into())
    }

    /// Prints how matrix products are computed, if the precision is not the default.
    pub(crate) fn report(self, model: &Model, console: &Console) {
        if self.precision != Precision::Float32 {
            let products = model.device().product_path(self.precision);
            console.progress.message(&format!("matrix products: {products}"));
        }
    }
}

/// A reranker, its output activation, and how it runs.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RerankerArgs {
    /// Directory of the reranker
    #[arg(long, value_name = "DIR")]
    pub(crate) model: PathBuf,

    /// Activation applied to the logits [default: the model's activation_fn]
    ///
    /// Its name in torch.nn, in any case: identity, sigmoid, tanh, relu, leakyrelu, elu, gelu,
    /// silu, softplus, logsigmoid, or softmax over several labels.
    #[arg(long, value_name = "NAME")]
    pub(crate) activation_fn: Option<OutputActivation>,

    #[command(flatten)]
    pub(crate) inference: InferenceArgs,
}

impl RerankerArgs {
    /// Opens the reranker.
    ///
    /// # Errors
    /// If the device or the model directory cannot be opened.
    pub(crate) fn load(&self, console: &Console) -> anyhow::Result<CrossEncoder> {
        let options = LoadOptions {
            max_length: self.inference.max_length,
            activation_fn: self.activation_fn,
            precision: self.inference.precision.precision,
            packing: Packing::Instead,
            ..console.load_options()?
        };
        let model = CrossEncoder::open_with(&self.model, &options)?;
        self.inference.precision.report(model.model(), console);
        Ok(model)
    }

    /// The options of `predict` and `rank` that the flags describe.
    pub(crate) fn predict_options(&self, console: &Console) -> PredictOptions {
        PredictOptions {
            batch_size: self.inference.batch_size.unwrap_or(usize::MAX),
            max_tokens: self.inference.max_tokens,
            prompt: self.inference.prompt.clone(),
            prompt_name: self.inference.prompt_name.clone(),
            reporter: console.progress.clone(),
            ..PredictOptions::default()
        }
    }
}

/// Parses the name of a precision.
///
/// # Errors
/// If the name is unknown.
fn precision(name: &str) -> Result<Precision, UnknownPrecision> {
    name.parse()
}

/// Parses a count of at least 1.
///
/// # Errors
/// If the text is not such a number.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// The error for a chunk of the input, as one for the input; the chunk stands after `rows` rows.
pub(crate) fn after_rows(error: Error, rows: usize) -> Error {
    match error {
        Error::Data(error) => Error::Data(error.after_rows(rows)),
        Error::Encoder(EncoderError::NotFinite { model, input, value, precision }) => {
            let input = input + rows;
            Error::Encoder(EncoderError::NotFinite { model, input, value, precision })
        }
        error => error,
    }
}

/// The f64 with the shortest decimal form of the f32 `score`, so that JSON has 0.1 and not
/// 0.10000000149011612.
pub(crate) fn printable(score: f32) -> f64 {
    score.to_string().parse().unwrap_or(f64::from(score))
}
