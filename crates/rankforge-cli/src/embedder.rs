//! A dual encoder and how it embeds the texts of a command.

use crate::console::Console;
use crate::inference::{InferenceArgs, at_least_one};
use rankforge::encoder::kernels::ops::Similarity;
use rankforge::encoder::{DualEncoder, EncodeOptions, Outputs, Side};
use rankforge::recipe::SimilarityName;
use std::path::PathBuf;

/// The flags.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct EmbedderArgs {
    /// Directory of the dual encoder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Truncate the embeddings to the first N dimensions [default: the model's truncate_dim]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    truncate_dim: Option<usize>,

    #[command(flatten)]
    inference: InferenceArgs,
}

/// How embeddings are compared.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct ScoreFunctionArgs {
    /// How embeddings are compared: cosine, dot, euclidean or manhattan
    #[arg(
        long = "score-function",
        value_name = "NAME",
        default_value = "cosine",
        value_parser = similarity
    )]
    name: SimilarityName,
}

impl ScoreFunctionArgs {
    pub(crate) fn similarity(self) -> Similarity {
        self.name.0
    }
}

/// An open dual encoder.
pub(crate) struct Embedder {
    pub(crate) model: DualEncoder,
    options: EncodeOptions,
}

impl EmbedderArgs {
    /// Opens the dual encoder.
    ///
    /// # Errors
    /// If the device or the model directory cannot be opened.
    pub(crate) fn load(&self, console: &Console) -> anyhow::Result<Embedder> {
        let model = self.inference.load_dual_encoder(&self.model, console)?;
        let truncate_dim = self.truncate_dim;
        let options = EncodeOptions { truncate_dim, ..self.inference.encode_options(console) };
        Ok(Embedder { model, options })
    }
}

impl Embedder {
    /// Embeds texts with the prompt for their side, or that of the flags.
    ///
    /// # Errors
    /// If the model cannot read a text.
    pub(crate) fn embed(&self, side: Side, texts: &[&str]) -> anyhow::Result<Outputs> {
        Ok(self.model.encode_side(side, texts, &self.options)?)
    }
}

/// Parses the name of a similarity function.
///
/// # Errors
/// If the name is unknown.
fn similarity(name: &str) -> Result<SimilarityName, String> {
    SimilarityName::try_from(name.to_owned())
}
