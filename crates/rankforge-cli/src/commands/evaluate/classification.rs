//! `rankforge evaluate classification`.

use crate::commands::evaluate::correlation::{section, with_columns_hint};
use crate::commands::evaluate::reranker::Reranker;
use crate::commands::evaluate::shared::{SharedArgs, metrics_table};
use crate::console::Console;
use crate::dataset::DatasetArgs;
use rankforge::evaluation::Evaluator;

#[derive(Debug, clap::Args)]
pub(super) struct ClassificationArgs {
    #[command(flatten)]
    dataset: DatasetArgs,
}

/// Evaluates how well the scores of a reranker tell the classes of pairs.
///
/// # Errors
/// If the model or the data set cannot be read, or the CSV file cannot be written.
pub(super) fn run(
    args: &ClassificationArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let reranker = Reranker::new(shared, console)?;
    let built = section(&args.dataset, "label", shared)?.classification();
    let evaluator = built.map_err(|error| with_columns_hint(error, &args.dataset, "LABEL"))?;
    let metrics = evaluator.evaluate(&reranker.open()?, &shared.context(console))?;
    console.result(|| metrics_table(&metrics), &metrics)
}
