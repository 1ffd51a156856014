//! `rankforge distill-static`: a static embedding model from a transformer.

use crate::console::Console;
use crate::failure::CliError;
use crate::inference::{PrecisionArgs, at_least_one};
use crate::table::thousands;
use rankforge::base::FileError;
use rankforge::encoder::{DistillOptions, LoadOptions, Packing, distill_static};
use std::path::PathBuf;

/// Distil a static embedding model from a transformer, as model2vec does
///
/// Each token of the teacher's vocabulary goes through the teacher; the mean of its last hidden
/// states becomes the token's row. Principal components reduce the rows to --dimension, and Zipf's
/// law weighs them: a token is the rarer the higher its id. No text and no training is needed. The
/// tokenizer of the teacher must be WordPiece, BPE or Unigram.
///
/// The directory opens here, in sentence-transformers and in model2vec.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge distill-static --model models/all-MiniLM-L6-v2 --output models/static
  rankforge distill-static --model models/bert-base-uncased --output models/static \\
      --dimension 512 --vocabulary words.txt")]
pub(crate) struct DistillStaticArgs {
    /// Directory of the teacher: a dual encoder, or another encoder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Directory for the static model; an earlier model in it is replaced
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Embedding dimension, at most the teacher's
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = at_least_one)]
    dimension: usize,

    /// File with further words, one on each line, that become tokens [default: none]
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,

    /// Coefficient a of the weight a / (a + p) of a token of probability p, above 0 and below 1
    #[arg(long, value_name = "A", default_value_t = 1e-4)]
    sif_coefficient: f64,

    /// Regular expression; tokens that begin with a match are removed
    #[arg(long, value_name = "REGEX", default_value = r"\[unused\d+\]")]
    token_remove_pattern: String,

    #[command(flatten)]
    precision: PrecisionArgs,
}

/// Runs the command.
///
/// # Errors
/// If the teacher or the vocabulary cannot be used, or the model cannot be written.
pub(crate) fn run(args: &DistillStaticArgs, console: &Console) -> anyhow::Result<()> {
    let vocabulary = match &args.vocabulary {
        None => Vec::new(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(FileError::io(path))?;
            let words = text.lines().map(str::trim).filter(|word| !word.is_empty());
            let words: Vec<String> = words.map(str::to_owned).collect();
            if words.is_empty() {
                let message = format!("{}: expected at least one word, got none", path.display());
                return Err(CliError::input(message).into());
            }
            words
        }
    };
    let options = DistillOptions {
        dimension: Some(args.dimension),
        sif_coefficient: Some(args.sif_coefficient),
        token_remove_pattern: Some(args.token_remove_pattern.clone()),
        vocabulary,
    };
    let load = LoadOptions {
        precision: args.precision.precision,
        packing: Packing::Instead,
        ..console.load_options()?
    };
    let done = distill_static(&args.model, &args.output, &options, &load)?;
    let (tokens, path) = (thousands(done.tokens as u64), args.output.display());
    console.result(
        || {
            format!(
                "distilled {tokens} tokens in {} dimensions ({:.1} % of the variance): {path}\n",
                done.dimension,
                100.0 * done.explained
            )
        },
        &serde_json::json!({
            "output": args.output.to_string_lossy(),
            "tokens": done.tokens,
            "dimension": done.dimension,
            "explained_variance": done.explained,
        }),
    )
}
