//! `rankforge data`: data sets made of data sets.

mod beir;
mod output;
mod streamed;
mod whole;

use crate::commands::data::beir::BeirArgs;
use crate::commands::data::streamed::{ConvertArgs, DedupArgs, FilterArgs, TakeArgs};
use crate::commands::data::whole::{ShuffleArgs, SplitArgs};
use crate::console::Console;

/// Convert, filter, deduplicate, shuffle and split data sets
///
/// Each reads a data set and writes a new one, in the format that the extension of the output
/// names: .jsonl, .ndjson, .csv or .tsv, each of them also with .gz or .zst, or .parquet. Columns
/// of csv files become numbers where all their cells are. `shuffle` and `split` hold the rows in
/// memory, `dedup` 16 bytes for each, and the others a few thousand rows.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge data convert --dataset pairs.csv --output pairs.parquet --rename question=query
  rankforge data filter --dataset pairs.parquet --where 'length(answer) < 2000' \\
      --where 'source != squad' --output some.parquet
  rankforge data dedup --dataset pairs.parquet --by query,answer --output once.parquet
  rankforge data split --dataset once.parquet --test-size 0.1 --output data/pairs")]
pub(crate) struct DataArgs {
    #[command(subcommand)]
    step: Step,
}

#[derive(Debug, clap::Subcommand)]
enum Step {
    /// Write a data set in another format, with some of its columns, or under other names
    Convert(ConvertArgs),
    /// Write some rows that follow each other
    Take(TakeArgs),
    /// Write the rows that fulfil conditions
    ///
    /// A condition is COLUMN = VALUE, or with !=, <, <=, >, >= or contains in place of the sign.
    /// length(COLUMN) is the number of characters of a text, or of items of a list. `=` and `!=`
    /// compare texts, or numbers where a cell is one; a missing cell equals an empty value, and
    /// fulfils no other condition but !=.
    Filter(FilterArgs),
    /// Write each row once: the first of those that are the same
    Dedup(DedupArgs),
    /// Write the rows in a random order
    Shuffle(ShuffleArgs),
    /// Write a directory with a split for training and one for tests, of rows drawn at random
    Split(SplitArgs),
    /// Write a BEIR folder, as `evaluate` reads it, from documents, queries and judgements
    ///
    /// Those of MS MARCO and of TREC are --no-header --corpus collection.tsv --queries queries.tsv
    /// --qrels qrels.tsv.
    Beir(BeirArgs),
}

/// Runs the command.
///
/// # Errors
/// If the rows cannot be read, the output exists or cannot be written, or the user pressed Ctrl-C.
pub(crate) fn run(args: &DataArgs, console: &Console) -> anyhow::Result<()> {
    match &args.step {
        Step::Convert(args) => streamed::convert(args, console),
        Step::Take(args) => streamed::take(args, console),
        Step::Filter(args) => streamed::filter(args, console),
        Step::Dedup(args) => streamed::dedup(args, console),
        Step::Shuffle(args) => whole::shuffle(args, console),
        Step::Split(args) => whole::split(args, console),
        Step::Beir(args) => beir::run(args, console),
    }
}
