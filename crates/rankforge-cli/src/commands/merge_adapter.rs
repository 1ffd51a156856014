//! `rankforge merge-adapter`: a plain model of an adapter and its base model.

use crate::console::Console;
use crate::failure::CliError;
use crate::table::thousands;
use rankforge::base::FileError;
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions, ModelKind, Packing, TextModel};
use std::path::PathBuf;

/// Merge a LoRA adapter into its base model
///
/// The directory of an adapter, as `rankforge train` with a section [lora], peft or
/// sentence-transformers write it, opens wherever a model is accepted, as long as its base model is
/// at the path that adapter_config.json names. The merged model needs neither, and gives the same
/// scores.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge merge-adapter --adapter runs/lora/final --output models/reranker
  rankforge merge-adapter --adapter downloads/adapter --base-model models/bert-base-uncased \\
      --output models/reranker")]
pub(crate) struct MergeAdapterArgs {
    /// Directory of the adapter, with adapter_config.json
    #[arg(long, value_name = "DIR")]
    adapter: PathBuf,

    /// Directory for the merged model; an earlier model in it is replaced
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Directory of the base model [default: that in adapter_config.json]
    #[arg(long, value_name = "DIR")]
    base_model: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If there is no adapter, its base model is not there, or the model cannot be written.
pub(crate) fn run(args: &MergeAdapterArgs, console: &Console) -> anyhow::Result<()> {
    let MergeAdapterArgs { adapter, output, base_model } = args;
    let config = adapter.join("adapter_config.json");
    std::fs::metadata(adapter).map_err(FileError::io(adapter))?;
    if !config.is_file() {
        let message = format!(
            "{}: expected the directory of an adapter, got one without adapter_config.json",
            adapter.display()
        );
        return Err(CliError::input(message).into());
    }
    let options = LoadOptions {
        base_model: base_model.clone(),
        packing: Packing::None,
        ..console.load_options()?
    };
    let kind = ModelKind::of_directory_with(adapter, &options)?;
    let parameters = match kind {
        ModelKind::CrossEncoder => {
            let model = CrossEncoder::open_with(adapter, &options)?;
            model.save(output, None)?;
            model.model().parameters().layout().len()
        }
        ModelKind::SentenceTransformer => {
            let model = DualEncoder::open_with(adapter, &options)?;
            model.save(output, None)?;
            model.model().parameters().layout().len()
        }
    };
    let path = output.display();
    console.result(
        || format!("merged into a {kind} of {} parameters: {path}\n", thousands(parameters as u64)),
        &serde_json::json!({
            "output": output.to_string_lossy(),
            "model_type": kind.to_string(),
            "parameters": parameters,
        }),
    )
}
