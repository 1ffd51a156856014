//! `rankforge evaluate correlation`.

use crate::commands::evaluate::reranker::Reranker;
use crate::commands::evaluate::shared::{SharedArgs, metrics_table};
use crate::console::Console;
use crate::dataset::{DatasetArgs, roles};
use crate::failure::CliError;
use rankforge::Error;
use rankforge::data::DataError;
use rankforge::evaluation::Evaluator;
use rankforge::recipe::LabeledPairsSection;
use std::num::NonZeroUsize;

#[derive(Debug, clap::Args)]
pub(super) struct CorrelationArgs {
    #[command(flatten)]
    dataset: DatasetArgs,
}

/// Evaluates the correlation of a reranker's scores with gold scores.
///
/// # Errors
/// If the model or the data set cannot be read, or the CSV file cannot be written.
pub(super) fn run(
    args: &CorrelationArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let reranker = Reranker::new(shared, console)?;
    let built = section(&args.dataset, "score", shared)?.correlation();
    let evaluator = built.map_err(|error| with_columns_hint(error, &args.dataset, "SCORE"))?;
    let metrics = evaluator.evaluate(&reranker.open()?, &shared.context(console))?;
    console.result(|| metrics_table(&metrics), &metrics)
}

/// The pairs that the flags describe, whose third column has a `third`.
///
/// # Errors
/// If --columns does not name three columns.
pub(super) fn section(
    dataset: &DatasetArgs,
    third: &str,
    shared: &SharedArgs,
) -> anyhow::Result<LabeledPairsSection> {
    let selection = &dataset.selection;
    if let Some(columns) = &selection.columns {
        roles(columns, &["first text", "second text", third])?;
    }
    Ok(LabeledPairsSection {
        path: dataset.dataset.clone(),
        split: selection.split.clone(),
        columns: selection.columns.clone(),
        limit: selection.limit.and_then(NonZeroUsize::new),
        name: Some(shared.name.clone()),
        batch_size: shared.batch_size.and_then(NonZeroUsize::new),
        write_csv: None,
    })
}

/// The error with a hint to name the columns, if the first three were read and do not fit; `third`
/// is what the third one has.
pub(super) fn with_columns_hint(error: Error, data: &DatasetArgs, third: &str) -> anyhow::Error {
    let is_about_columns =
        matches!(error, Error::Rows { .. } | Error::Data(DataError::Cell { .. }));
    if data.selection.columns.is_some() || !is_about_columns {
        return error.into();
    }
    let hint = format!(
        "--columns A,B,{third} names the columns of both texts and of their {}; without it they \
         are the first three",
        third.to_lowercase()
    );
    CliError::input(error.to_string()).hint(hint).into()
}
