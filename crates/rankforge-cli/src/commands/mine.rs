//! `rankforge mine`: mines hard negatives for (query, passage) pairs.

use crate::commands::mining_flags::MiningFlags;
use crate::console::Console;
use crate::dataset::DatasetArgs;
use crate::inference::PrecisionArgs;
use crate::interrupt;
use crate::table::thousands;
use rankforge::data::{RowWriter, Rows, load_rows};
use rankforge::encoder::{LoadOptions, TextModel};
use rankforge::mining::{MinedFile, MiningOptions, Statistics};
use rankforge::recipe::MiningSources;
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// Mine hard negatives for (query, passage) pairs
///
/// Encodes queries and passages with a dual encoder. Candidates are the passages most similar to a
/// query that are not its own; those that pass the filters below can become its negatives. Options
/// have the names and defaults of mine_hard_negatives in sentence-transformers. Prints statistics
/// of the similarities of positives and negatives.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge mine --dataset pairs.parquet --columns query,answer --model models/static \\
      --num-negatives 5 --range-min 0 --range-max 20 --absolute-margin 0 \\
      --sampling-strategy top --batch-size 4096 --output-format labeled-pair --output mined.jsonl
  rankforge mine --dataset pairs.jsonl --model models/static --cross-encoder models/reranker \\
      --relative-margin 0.05 --range-max 50 --output-format n-tuple --output mined.parquet
  rankforge mine --dataset pairs.jsonl --model models/static --corpus passages.jsonl \\
      --corpus-column text --sampling-strategy random --seed 7 --output triplets.jsonl")]
pub(crate) struct MineArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Directory of the dual encoder that retrieves the candidates
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    /// File for the mined rows: .jsonl, .csv or .parquet; .csv cannot store labeled-list rows
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Directory of a reranker that rescores the candidates; used with a margin or score filter
    #[arg(long, value_name = "DIR")]
    cross_encoder: Option<PathBuf>,

    /// Data set of additional passages that may become negatives [default: none]
    #[arg(long, value_name = "PATH")]
    corpus: Option<PathBuf>,

    /// Column of --corpus with the passages [default: `text` if there is one, else the first]
    #[arg(long, value_name = "NAME", requires = "corpus")]
    corpus_column: Option<String>,

    #[command(flatten)]
    precision: PrecisionArgs,

    #[command(flatten)]
    options: MiningFlags,
}

/// Runs the command.
///
/// # Errors
/// If a model or the data set cannot be read, an option is out of range, or the output cannot be
/// written.
pub(crate) fn run(args: &MineArgs, console: &Console) -> anyhow::Result<()> {
    args.options.0.validate()?;
    // Fails now, not after the mining, if the extension is unknown or the directory is missing.
    drop(RowWriter::create(&args.output)?);
    // The statistics are part of the result on standard output, so they must not be logged too.
    let options = MiningOptions { verbose: false, ..args.options.0.clone() };
    let rows = load_rows(&args.dataset.location())?;
    require_columns(&rows, &options)?;
    let load = LoadOptions { precision: args.precision.precision, ..console.load_options()? };
    let sources = MiningSources {
        model: args.model.clone(),
        cross_encoder: args.cross_encoder.clone(),
        corpus: args.corpus.clone(),
        corpus_column: args.corpus_column.clone(),
    };
    let models = sources.open(&load)?;
    let opened =
        [Some(models.encoder.model()), models.cross_encoder.as_ref().map(TextModel::model)];
    args.precision.check(&opened.into_iter().flatten().collect::<Vec<_>>())?;
    args.precision.report(models.encoder.model(), console);
    let miner = models.miner(options, load.reporter);
    let mined = miner.mine_to_file(&rows, &args.output, &interrupt::stop())?;
    let text = || {
        let mut text = String::new();
        if args.options.0.verbose {
            text.push_str(&mined.lines.join("\n"));
            text.push('\n');
        }
        let count = thousands(mined.summary.rows as u64);
        let names = mined.columns.join(", ");
        text.push_str(&format!("{count} rows ({names}): {}\n", args.output.display()));
        text
    };
    console.result(text, &summary(&mined, &args.output))
}

/// Checks that the columns named by flags exist. The library would use the first two columns
/// instead of missing ones, as sentence-transformers does.
///
/// # Errors
/// If a column is missing.
fn require_columns(rows: &Rows, options: &MiningOptions) -> anyhow::Result<()> {
    for name in [&options.anchor_column_name, &options.positive_column_name].into_iter().flatten() {
        rows.column(name)?;
    }
    Ok(())
}

/// The JSON result.
fn summary(mined: &MinedFile, output: &Path) -> Json {
    let summary = &mined.summary;
    let skipped: Vec<Json> = summary
        .skipped
        .iter()
        .map(|skipped| {
            json!({
                "parameter": skipped.parameter,
                "value": skipped.value,
                "count": skipped.count,
                "ratio": skipped.ratio,
            })
        })
        .collect();
    json!({
        "output": output.to_string_lossy(),
        "rows": summary.rows,
        "columns": mined.columns,
        "range_max": summary.range_max,
        "total_queries": summary.total_queries,
        "unique_queries": summary.unique_queries,
        "average_positives": summary.average_positives,
        "positive": statistics(&summary.positive),
        "negative": statistics(&summary.negative),
        "difference": statistics(&summary.difference),
        "skipped": skipped,
        "maximum_possible": summary.maximum_possible,
        "missing": summary.missing,
    })
}

fn statistics(of: &Statistics) -> Json {
    json!({
        "count": of.count,
        "mean": of.mean,
        "median": of.median,
        "std": of.std,
        "min": of.min,
        "25%": of.quartile_1,
        "50%": of.quartile_2,
        "75%": of.quartile_3,
        "max": of.max,
    })
}
