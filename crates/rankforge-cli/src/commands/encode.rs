//! `rankforge encode`: computes an embedding for each text.

use crate::console::Console;
use crate::dataset::SelectionArgs;
use crate::embeddings_file::EmbeddingsWriter;
use crate::inference::{InferenceArgs, after_rows, at_least_one};
use crate::interrupt::Graceful;
use crate::table::thousands;
use rankforge::Error;
use rankforge::data::RowReader;
use rankforge::encoder::{
    DualEncoder, EncodeOptions, LoadOptions, Outputs, Packing, Side, TextModel,
};
use std::path::PathBuf;

/// Number of texts that are read, encoded and written at a time.
const CHUNK: usize = 8192;

/// Encode texts into embeddings with a dual encoder
///
/// Writes a float32 matrix with one row per text, in the order of the input: a NumPy array, or the
/// tensor `embeddings` of a safetensors file. Reads the texts in chunks, so the input may be larger
/// than memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge encode --model models/encoder --input texts.jsonl --column text --output texts.npy
  rankforge encode --model models/encoder --input queries.csv --column query \\
      --encode-as query --normalize-embeddings --output queries.safetensors
  rankforge encode --model models/encoder --input texts.parquet --column text \\
      --truncate-dim 256 --output texts.npy")]
pub(crate) struct EncodeArgs {
    /// Directory of the dual encoder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Texts: a .jsonl, .csv, .tsv or .parquet file, or a directory of such files
    #[arg(long, value_name = "PATH")]
    input: PathBuf,

    /// Column with the texts
    #[arg(long, value_name = "NAME")]
    column: String,

    /// Split of a data set directory, e.g. train or test [default: train, or the only split]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    /// Read only the first N rows [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,

    /// File for the embeddings: .npy or .safetensors
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Which of the model's prompts is used without --prompt and --prompt-name
    ///
    /// Like encode, encode_query and encode_document of sentence-transformers.
    #[arg(long, value_name = "KIND", value_enum, default_value_t = EncodeAs::Text)]
    encode_as: EncodeAs,

    /// Normalise the embeddings to unit length, after truncation by --truncate-dim
    #[arg(long)]
    normalize_embeddings: bool,

    /// Truncate the embeddings to the first N dimensions [default: the model's truncate_dim]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    truncate_dim: Option<usize>,

    #[command(flatten)]
    inference: InferenceArgs,
}

/// What the texts are.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum EncodeAs {
    /// The model's default prompt, if it has one
    Text,
    /// The prompt named query
    Query,
    /// The prompt named document, passage or corpus
    Document,
}

/// Runs the command.
///
/// # Errors
/// If the model or the input cannot be read, a text is not a string, the output cannot be written,
/// or the user pressed Ctrl-C.
pub(crate) fn run(args: &EncodeArgs, console: &Console) -> anyhow::Result<()> {
    let selection = SelectionArgs {
        split: args.split.clone(),
        columns: Some(vec![args.column.clone()]),
        limit: args.limit,
    };
    let reader = RowReader::open(&selection.location(args.input.clone()), CHUNK)?;
    // Must precede the writer: without it Ctrl-C would exit at once and leave its temporary file.
    let graceful = Graceful::begin();
    let mut writer = EmbeddingsWriter::create(&args.output)?;
    let load = LoadOptions {
        max_length: args.inference.max_length,
        precision: args.inference.precision.precision,
        packing: Packing::Instead,
        ..console.load_options()?
    };
    let model = DualEncoder::open_with(&args.model, &load)?;
    args.inference.precision.check(&[model.model()])?;
    args.inference.precision.report(model.model(), console);
    let options = EncodeOptions {
        batch_size: args.inference.batch_size.unwrap_or(usize::MAX),
        max_tokens: args.inference.max_tokens,
        prompt: args.inference.prompt.clone(),
        prompt_name: args.inference.prompt_name.clone(),
        normalize_embeddings: args.normalize_embeddings,
        truncate_dim: args.truncate_dim,
        reporter: console.progress.clone(),
    };
    let mut count = 0;
    for chunk in reader {
        graceful.check()?;
        let rows = chunk?;
        let embed = || -> Result<Outputs, Error> {
            let texts = rows.texts(&args.column)?;
            Ok(model.encode_side(args.encode_as.side(), &texts, &options)?)
        };
        writer.write(&embed().map_err(|error| after_rows(error, count))?)?;
        count += rows.len();
    }
    if writer.is_empty() {
        writer.write(&model.encode_with(&[], &options)?)?;
    }
    graceful.check()?;
    let (rows, columns) = writer.finish()?;
    let path = args.output.display();
    console.result(
        || format!("encoded {} texts in {columns} dimensions: {path}\n", thousands(rows as u64)),
        &serde_json::json!({
            "output": args.output.to_string_lossy(),
            "rows": rows,
            "columns": columns,
        }),
    )
}

impl EncodeAs {
    fn side(self) -> Side {
        match self {
            EncodeAs::Text => Side::Text,
            EncodeAs::Query => Side::Query,
            EncodeAs::Document => Side::Document,
        }
    }
}
