//! `rankforge encode`: an embedding for each text.

use crate::console::Console;
use crate::dataset::SelectionArgs;
use crate::embeddings_file::EmbeddingsWriter;
use crate::inference::{InferenceArgs, at_least_one};
use crate::interrupt::Graceful;
use crate::table::thousands;
use rankforge::data::RowReader;
use rankforge::encoder::{
    DualEncoder, EncodeOptions, EncoderError, LoadOptions, Outputs, Reporter,
};
use std::path::PathBuf;

/// Texts in memory at a time.
const CHUNK: usize = 8192;

/// Embed texts with a dual encoder
///
/// Reads the texts in pieces, so the input may be larger than memory. The output has one row for
/// each text, in input order: a NumPy array, or the tensor `embeddings` of a safetensors file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge encode --model models/encoder --input texts.jsonl --column text --output texts.npy
  rankforge encode --model models/encoder --input queries.csv --column query \\
      --encode-as query --normalize-embeddings --output queries.safetensors
  rankforge encode --model models/encoder --input texts.parquet --column text \\
      --truncate-dim 256 --output texts.npy")]
pub(crate) struct EncodeArgs {
    /// Folder of the dual encoder
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,

    /// Texts: a .jsonl, .csv, .tsv or .parquet file, or a folder of them
    #[arg(long, value_name = "PATH")]
    input: PathBuf,

    /// Column that holds the texts
    #[arg(long, value_name = "NAME")]
    column: String,

    /// Split of a folder: the files whose names start so [default: train, or the only one]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    /// Read the first N rows only
    #[arg(long, value_name = "N")]
    limit: Option<usize>,

    /// Embeddings: a .npy or .safetensors file
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Which of the model's prompts applies when none is named
    #[arg(long, value_enum, default_value_t = EncodeAs::Text)]
    encode_as: EncodeAs,

    /// Scale the embeddings to unit length, after --truncate-dim
    #[arg(long)]
    normalize_embeddings: bool,

    /// Keep the leading N dimensions
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    truncate_dim: Option<usize>,

    #[command(flatten)]
    inference: InferenceArgs,
}

/// What the texts are.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum EncodeAs {
    /// Texts: the model's default prompt, if any
    Text,
    /// Queries: the prompt called query
    Query,
    /// Documents: the prompt called document, passage or corpus
    Document,
}

/// Runs the command.
///
/// # Errors
/// An unusable model or input, a full disk.
pub(crate) fn run(args: &EncodeArgs, console: &Console) -> anyhow::Result<()> {
    let selection = SelectionArgs {
        split: args.split.clone(),
        columns: Some(vec![args.column.clone()]),
        limit: args.limit,
    };
    let reader = RowReader::open(&selection.location(args.input.clone()), CHUNK)?;
    // Before the writer, whose temporary file an unheeded Ctrl-C would leave behind.
    let graceful = Graceful::begin();
    let mut writer = EmbeddingsWriter::create(&args.output)?;
    let load = LoadOptions {
        max_length: args.inference.max_length,
        precision: args.inference.precision.precision,
        ..console.load_options()?
    };
    let model = DualEncoder::load(&args.model, &load, &*console.progress)?;
    args.inference.precision.check(&[model.model()])?;
    args.inference.precision.tell(model.model(), console);
    let options = EncodeOptions {
        batch_size: args.inference.batch_size.unwrap_or(usize::MAX),
        max_tokens: args.inference.max_tokens,
        prompt: args.inference.prompt.clone(),
        prompt_name: args.inference.prompt_name.clone(),
        normalize_embeddings: args.normalize_embeddings,
        truncate_dim: args.truncate_dim,
    };
    for chunk in reader {
        graceful.check()?;
        let rows = chunk?;
        let texts = rows.texts(&args.column)?;
        writer.write(&encode(&model, args.encode_as, &texts, &options, &*console.progress)?)?;
    }
    graceful.check()?;
    let (rows, columns) = writer.finish()?;
    let path = args.output.display();
    console.result(
        || format!("{} texts embedded in {columns} dimensions: {path}\n", thousands(rows as u64)),
        &serde_json::json!({ "output": args.output, "rows": rows, "columns": columns }),
    )
}

fn encode(
    model: &DualEncoder,
    encode_as: EncodeAs,
    texts: &[&str],
    options: &EncodeOptions,
    reporter: &dyn Reporter,
) -> Result<Outputs, EncoderError> {
    match encode_as {
        EncodeAs::Text => model.encode(texts, options, reporter),
        EncodeAs::Query => model.encode_query(texts, options, reporter),
        EncodeAs::Document => model.encode_document(texts, options, reporter),
    }
}
