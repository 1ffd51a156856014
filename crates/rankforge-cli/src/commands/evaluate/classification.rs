//! `rankforge evaluate classification`.

use crate::commands::evaluate::correlation::with_columns_hint;
use crate::commands::evaluate::reranker::Reranker;
use crate::commands::evaluate::shared::{SharedArgs, metrics_table};
use crate::console::Console;
use crate::dataset::{DatasetArgs, roles};
use rankforge::evaluation::Evaluator;
use rankforge::recipe::ClassificationSection;
use std::num::NonZeroUsize;

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
    let selection = &args.dataset.selection;
    if let Some(columns) = &selection.columns {
        roles(columns, &["first text", "second text", "label"])?;
    }
    let section = ClassificationSection {
        path: args.dataset.dataset.clone(),
        split: selection.split.clone(),
        columns: selection.columns.clone(),
        limit: selection.limit.and_then(NonZeroUsize::new),
        name: Some(shared.name.clone()),
        batch_size: shared.batch_size.and_then(NonZeroUsize::new),
        write_csv: None,
    };
    let built = section.evaluator();
    let evaluator = built.map_err(|error| with_columns_hint(error, &args.dataset, "LABEL"))?;
    let metrics = evaluator.evaluate(&reranker.open()?, &shared.context(console))?;
    console.result(|| metrics_table(&metrics), &metrics)
}
