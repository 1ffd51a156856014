//! `rankforge encode`: computes an embedding for each text.

use crate::console::Console;
use crate::dataset::SelectionArgs;
use crate::embeddings_file::EmbeddingsWriter;
use crate::failure::CliError;
use crate::inference::{InferenceArgs, after_rows, at_least_one};
use crate::interrupt::Graceful;
use crate::table::thousands;
use crate::texts::read_texts;
use rankforge::Error;
use rankforge::base::Reporter;
use rankforge::data::{RowReader, has_known_extension};
use rankforge::encoder::{EncodeOptions, EncoderError, Outputs, Side};
use rankforge::util::{EmbeddingPrecision, QuantizationRanges, quantize_embeddings};
use std::path::PathBuf;

/// Number of texts that are read, encoded and written at a time.
const CHUNK: usize = 8192;

/// Encode texts into embeddings with a dual encoder
///
/// Writes a matrix with one row per text, in the order of the input: a NumPy array, or the tensor
/// `embeddings` of a safetensors file. Reads the texts in chunks, so the input may be larger than
/// memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge encode --model models/encoder --input texts.jsonl --column text --output texts.npy
  rankforge encode --model models/encoder --input queries.csv --column query \\
      --encode-as query --normalize-embeddings --output queries.safetensors
  rankforge encode --model models/encoder --input texts.parquet --column text \\
      --truncate-dim 256 --output texts.npy
  rankforge encode --model models/encoder --input texts.parquet --column text \\
      --precision-out int8 --calibration sample.jsonl --output texts.npy")]
pub(crate) struct EncodeArgs {
    /// Directory of the dual encoder
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// Texts: a .jsonl, .csv, .tsv, .parquet or .arrow file, or a directory of such files
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

    /// Type of the elements: float32, int8, uint8, binary or ubinary
    ///
    /// int8 and uint8 divide the range of each dimension into 256 steps. binary and ubinary keep a
    /// bit of each dimension, 1 if positive, eight in a byte, signed or unsigned.
    #[arg(long, value_name = "NAME", default_value = "float32", value_parser = precision_out)]
    precision_out: EmbeddingPrecision,

    /// Texts whose embeddings give the ranges of int8 and uint8 [default: those of --input]
    ///
    /// Read from the same column, as a data set or a text file. Without it, all embeddings of
    /// --input are in memory before the first is written.
    #[arg(long, value_name = "PATH")]
    calibration: Option<PathBuf>,

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
    if args.calibration.is_some() && !args.precision_out.needs_ranges() {
        let message = format!("--calibration has no effect with {}", args.precision_out);
        return Err(CliError::usage(message).hint("it is for int8 and uint8").into());
    }
    let selection = SelectionArgs {
        split: args.split.clone(),
        columns: Some(vec![args.column.clone()]),
        limit: args.limit,
    };
    let reader = RowReader::open(&selection.location(args.input.clone()), CHUNK)?;
    // Must precede the writer: without it Ctrl-C would exit at once and leave its temporary file.
    let graceful = Graceful::begin();
    let writer = EmbeddingsWriter::create(&args.output, args.precision_out)?;
    let model = args.inference.load_dual_encoder(&args.model, console)?;
    let options = EncodeOptions {
        normalize_embeddings: args.normalize_embeddings,
        truncate_dim: args.truncate_dim,
        ..args.inference.encode_options(console)
    };
    let side = args.encode_as.side();
    let embed = |texts: &[&str]| model.encode_side(side, texts, &options);
    let mut output = Output { writer, args, ranges: None, waiting: None };
    output.calibrate(&embed, console)?;
    let mut count = 0;
    for chunk in reader {
        graceful.check()?;
        let rows = chunk?;
        let embedded = || -> Result<Outputs, Error> { Ok(embed(&rows.texts(&args.column)?)?) };
        output.add(embedded().map_err(|error| after_rows(error, count))?)?;
        count += rows.len();
    }
    if count == 0 {
        output.add(embed(&[])?)?;
    }
    let writer = output.finish(console)?;
    graceful.check()?;
    let (rows, columns) = writer.finish()?;
    let path = args.output.display();
    console.result(
        || {
            let what = match args.precision_out {
                EmbeddingPrecision::Float32 => format!("{columns} dimensions"),
                precision => format!("{columns} {precision} elements each"),
            };
            format!("encoded {} texts in {what}: {path}\n", thousands(rows as u64))
        },
        &serde_json::json!({
            "output": args.output.to_string_lossy(),
            "rows": rows,
            "columns": columns,
            "precision": args.precision_out.name(),
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

/// Parses the name of a type of elements.
///
/// # Errors
/// If the name is unknown.
fn precision_out(name: &str) -> Result<EmbeddingPrecision, Error> {
    name.parse()
}

/// Embeddings on their way into the file.
struct Output<'a> {
    writer: EmbeddingsWriter,
    args: &'a EncodeArgs,
    /// The ranges of int8 and uint8, once they are known.
    ranges: Option<QuantizationRanges>,
    /// Embeddings that wait for their ranges.
    waiting: Option<Outputs>,
}

impl Output<'_> {
    /// Computes the ranges from the texts of --calibration, if there are any.
    ///
    /// # Errors
    /// If they cannot be read, or there is only one.
    fn calibrate(
        &mut self,
        embed: &dyn Fn(&[&str]) -> Result<Outputs, EncoderError>,
        console: &Console,
    ) -> anyhow::Result<()> {
        let Some(path) = &self.args.calibration else { return Ok(()) };
        let column = has_known_extension(path).then_some(self.args.column.as_str());
        let texts = read_texts(path, column, "--column", "calibration text")?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        self.ranges = Some(ranges(&embed(&texts)?, console)?);
        Ok(())
    }

    /// Writes embeddings, or keeps them until their ranges are known.
    fn add(&mut self, outputs: Outputs) -> anyhow::Result<()> {
        let precision = self.args.precision_out;
        if precision.needs_ranges() && self.ranges.is_none() {
            self.waiting.get_or_insert_default().append(outputs);
            return Ok(());
        }
        let quantised = quantize_embeddings(outputs, precision, self.ranges.as_ref())?;
        self.writer.write(&quantised)
    }

    /// Writes the embeddings that are waiting.
    fn finish(mut self, console: &Console) -> anyhow::Result<EmbeddingsWriter> {
        if let Some(outputs) = self.waiting.take() {
            if outputs.rows > 0 {
                self.ranges = Some(ranges(&outputs, console)?);
            }
            let quantised =
                quantize_embeddings(outputs, self.args.precision_out, self.ranges.as_ref())?;
            self.writer.write(&quantised)?;
        }
        Ok(self.writer)
    }
}

/// The ranges of the dimensions; few embeddings are a warning.
fn ranges(embeddings: &Outputs, console: &Console) -> anyhow::Result<QuantizationRanges> {
    let ranges = QuantizationRanges::of(embeddings).map_err(|error| {
        let hint = "--calibration FILE names texts whose embeddings give the ranges";
        CliError::input(error.to_string()).hint(hint)
    })?;
    if embeddings.rows < QuantizationRanges::STABLE {
        let stable = QuantizationRanges::STABLE;
        console.progress.warning(&format!(
            "the ranges of int8 and uint8 come from {} embeddings; those of {stable} are stable",
            embeddings.rows
        ));
    }
    Ok(ranges)
}
