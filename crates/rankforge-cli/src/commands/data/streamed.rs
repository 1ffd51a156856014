//! Steps of `rankforge data` that hold a few thousand rows at a time.

use crate::commands::data::output::{InputArgs, OutputArgs, stream};
use crate::console::Console;
use crate::inference::at_least_one;
use rankforge::data::{Condition, Duplicates};

#[derive(Debug, clap::Args)]
pub(super) struct ConvertArgs {
    #[command(flatten)]
    input: InputArgs,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct TakeArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Number of rows to write [default: all that follow]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    rows: Option<usize>,

    /// Number of rows to leave out before them
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: usize,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Condition on a column, as 'score >= 0.5'; of several, a row must fulfil all
    #[arg(long = "where", value_name = "CONDITION", required = true)]
    conditions: Vec<Condition>,

    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Args)]
pub(super) struct DedupArgs {
    #[command(flatten)]
    input: InputArgs,

    /// Columns that are compared, separated by commas [default: all]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    by: Vec<String>,

    #[command(flatten)]
    output: OutputArgs,
}

pub(super) fn convert(args: &ConvertArgs, console: &Console) -> anyhow::Result<()> {
    stream(&args.input, &args.output, console, |rows| Ok(Some(rows)))
}

pub(super) fn take(args: &TakeArgs, console: &Console) -> anyhow::Result<()> {
    let (mut skip, mut left) = (args.skip, args.rows.unwrap_or(usize::MAX));
    stream(&args.input, &args.output, console, |rows| {
        if left == 0 {
            return Ok(None);
        }
        let first = skip.min(rows.len());
        let last = first + left.min(rows.len() - first);
        (skip, left) = (skip - first, left - (last - first));
        Ok(Some(rows.select(&(first..last).collect::<Vec<_>>())))
    })
}

pub(super) fn filter(args: &FilterArgs, console: &Console) -> anyhow::Result<()> {
    stream(&args.input, &args.output, console, |rows| {
        Ok(Some(rows.select(&Condition::all_hold(&args.conditions, &rows)?)))
    })
}

pub(super) fn dedup(args: &DedupArgs, console: &Console) -> anyhow::Result<()> {
    let mut duplicates = Duplicates::new(args.by.clone());
    stream(&args.input, &args.output, console, |rows| {
        Ok(Some(rows.select(&duplicates.first_rows(&rows)?)))
    })
}
