//! `rankforge compare`: training runs side by side.

use crate::console::Console;
use crate::table::Table;
use rankforge::base::write_atomically;
use rankforge::training::{Comparison, ComparisonRow, RunSummary};
use std::path::PathBuf;

/// Compare training runs side by side
///
/// RUN is the folder of a run, its arguments.output_dir, whether the run has ended or goes on. The
/// metrics are those of the model: of the last evaluation, or of the best one if the run took the
/// parameters of that. Beside them stand speed and memory, and what is another in the runs: fields
/// of their recipes, hashes of models and data, version, instruction set and threads.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge compare runs/first runs/second
  rankforge compare runs/* --report runs.html
  rankforge compare runs/first runs/second --json")]
pub(crate) struct CompareArgs {
    /// Folders of runs, at least two
    #[arg(value_name = "RUN", required = true, num_args = 2..)]
    runs: Vec<PathBuf>,

    /// Write a page with all curves, one plot for each figure
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// If a folder is not that of a run, or the page cannot be written.
pub(crate) fn run(args: &CompareArgs, console: &Console) -> anyhow::Result<()> {
    let runs = args.runs.iter().map(|folder| RunSummary::read(folder));
    let comparison = Comparison::new(runs.collect::<Result<_, _>>()?)?;
    if let Some(path) = &args.report {
        write_atomically(path, comparison.html()?.as_bytes())?;
    }
    console.result(|| tables(&comparison), &comparison.to_json())
}

fn tables(comparison: &Comparison) -> String {
    let steps = |what: &str, step: &dyn Fn(&RunSummary) -> u64| ComparisonRow {
        name: what.to_owned(),
        values: comparison.runs.iter().map(|run| Some(step(run).into())).collect(),
    };
    let mut figures =
        vec![steps("steps", &|run| run.step), steps("model of step", &|run| run.model_step)];
    figures.extend(comparison.metrics.iter().cloned());
    let parts = [
        ("figure", &figures),
        ("speed and memory", &comparison.speed),
        ("different in the recipes", &comparison.fields),
        ("different besides", &comparison.origin),
    ];
    let tables = parts.into_iter().filter(|(_, rows)| !rows.is_empty());
    let tables = tables.map(|(heading, rows)| {
        let header = [heading].into_iter().chain(comparison.names.iter().map(String::as_str));
        let mut table = Table::new(&header.collect::<Vec<_>>());
        for row in rows {
            table.row([row.name.clone()].into_iter().chain(row.texts()));
        }
        table.to_string()
    });
    tables.collect::<Vec<_>>().join("\n")
}
