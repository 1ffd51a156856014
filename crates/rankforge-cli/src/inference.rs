//! Flags that the commands which run a model share.

use crate::console::Console;
use crate::failure::Mistake;
use rankforge::encoder::{
    CrossEncoder, DualEncoder, EncoderError, LoadOptions, Model, OutputActivation, PredictOptions,
    Reporter, Silent,
};
use rankforge::{Precision, UnknownPrecision};
use std::path::{Path, PathBuf};

/// How a model reads its texts.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InferenceArgs {
    /// Most texts or pairs in a batch [default: as many as the tokens allow]; a static embedding model has no batches
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) batch_size: Option<usize>,

    /// Most tokens in a batch: what bounds memory; scores do not depend on it
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = at_least_one)]
    pub(crate) max_tokens: usize,

    /// Cut inputs to so many tokens [default: as the model's files say]
    #[arg(long, value_name = "TOKENS", value_parser = at_least_one)]
    pub(crate) max_length: Option<usize>,

    /// Prepended to each text, or to the first text of each pair
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_name")]
    pub(crate) prompt: Option<String>,

    /// Name of a prompt that the model's files hold
    #[arg(long, value_name = "NAME")]
    pub(crate) prompt_name: Option<String>,

    #[command(flatten)]
    pub(crate) precision: PrecisionArgs,
}

/// How models compute.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct PrecisionArgs {
    /// Round the operands of linear layers and attention to bf16 or fp16; everything else stays fp32
    #[arg(long, value_name = "NAME", global = true, default_value_t, value_parser = precision)]
    pub(crate) precision: Precision,
}

impl PrecisionArgs {
    /// Checks that the precision changes what one of `models` computes.
    ///
    /// # Errors
    /// Half precision where no model has a linear layer.
    pub(crate) fn check(self, models: &[&Model]) -> anyhow::Result<()> {
        let linear = |model: &&Model| model.architecture().has_linear_layers();
        if self.precision == Precision::Float32 || models.iter().any(linear) {
            return Ok(());
        }
        let message = format!(
            "--precision {} would change nothing: a static embedding model has no linear layer",
            self.precision
        );
        Err(Mistake::usage(message).hint("leave --precision out").into())
    }

    /// Says how matrix products are computed, where that is not the default.
    pub(crate) fn tell(self, model: &Model, console: &Console) {
        if self.precision != Precision::Float32 {
            let products = model.device().product_path(self.precision);
            console.progress.message(&format!("matrix products: {products}"));
        }
    }
}

/// A reranker and what is done with its logits.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RerankerArgs {
    /// Folder of the reranker
    #[arg(long, value_name = "FOLDER")]
    pub(crate) model: PathBuf,

    /// Applied to the logits [default: as the model's files say]
    #[arg(long, value_name = "NAME", value_enum)]
    pub(crate) activation_fn: Option<ActivationName>,

    #[command(flatten)]
    pub(crate) inference: InferenceArgs,
}

/// Output activations by name.
#[derive(Clone, Copy, Debug, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActivationName {
    /// The logits as they are
    #[serde(alias = "Identity", alias = "torch.nn.modules.linear.Identity")]
    Identity,
    /// 1 / (1 + exp(-x))
    #[serde(alias = "Sigmoid", alias = "torch.nn.modules.activation.Sigmoid")]
    Sigmoid,
    /// Hyperbolic tangent
    #[serde(alias = "Tanh", alias = "torch.nn.modules.activation.Tanh")]
    Tanh,
}

impl From<ActivationName> for OutputActivation {
    fn from(name: ActivationName) -> OutputActivation {
        match name {
            ActivationName::Identity => OutputActivation::Identity,
            ActivationName::Sigmoid => OutputActivation::Sigmoid,
            ActivationName::Tanh => OutputActivation::Tanh,
        }
    }
}

impl RerankerArgs {
    /// Opens the reranker.
    ///
    /// # Errors
    /// Whatever is wrong with its folder.
    pub(crate) fn load(&self, console: &Console) -> anyhow::Result<CrossEncoder> {
        let options = LoadOptions {
            max_length: self.inference.max_length,
            activation_fn: self.activation_fn.map(Into::into),
            precision: self.inference.precision.precision,
            ..console.load_options()?
        };
        let model = CrossEncoder::load(&self.model, &options, &*console.progress)?;
        self.inference.precision.tell(model.model(), console);
        Ok(model)
    }

    /// How it predicts.
    pub(crate) fn predict_options(&self) -> PredictOptions {
        PredictOptions {
            batch_size: self.inference.batch_size.unwrap_or(usize::MAX),
            max_tokens: self.inference.max_tokens,
            prompt: self.inference.prompt.clone(),
            prompt_name: self.inference.prompt_name.clone(),
            ..PredictOptions::default()
        }
    }
}

/// Opens a dual encoder with everything else as its files say.
///
/// # Errors
/// Whatever is wrong with its folder.
pub(crate) fn load_dual_encoder(
    path: &Path,
    precision: Precision,
    console: &Console,
) -> anyhow::Result<DualEncoder> {
    let options = LoadOptions { precision, ..console.load_options()? };
    Ok(DualEncoder::load(path, &options, &*console.progress)?)
}

/// Scores of the card's example pairs.
pub(crate) fn example_scores(
    model: &CrossEncoder,
    pairs: &[(&str, &str)],
) -> Result<Vec<f32>, EncoderError> {
    Ok(model.predict(pairs, &PredictOptions::default(), &Silent)?.values)
}

/// The precision of a name.
///
/// # Errors
/// An unknown name.
fn precision(name: &str) -> Result<Precision, UnknownPrecision> {
    name.parse()
}

/// A count of at least 1.
///
/// # Errors
/// Anything else.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}

/// The f64 that prints as `score` prints: 0.1, not 0.10000000149011612.
pub(crate) fn printable(score: f32) -> f64 {
    score.to_string().parse().unwrap_or(f64::from(score))
}
