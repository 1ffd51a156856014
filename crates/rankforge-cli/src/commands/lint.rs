//! `rankforge lint`: finds what is wrong with training data.

use crate::console::Console;
use crate::dataset::{DatasetArgs, SelectionArgs, expect_no_file, write_rows};
use crate::failure::CliError;
use crate::inference::at_least_one;
use crate::lint_text::describe;
use rankforge::data::{Location, RowWriter, Rows, load_rows, splits};
use rankforge::encoder::{Input, Tokenizer};
use rankforge::lint::{HeldOut, Kind, Lint, LintOptions, Severity};
use serde_json::json;
use std::path::PathBuf;
use std::sync::OnceLock;

/// Find what is wrong with training data before training on it
///
/// Looks for empty, long and repeated texts, near duplicates, documents that are both positive and
/// negative of a query, queries and documents of held-out data, and labels that contradict each
/// other or are rare. Each finding has examples and says what to do about it. Held-out data are
/// the other splits of the data set and what --held-out names.
///
/// The first column of texts is the query. With a label column and one other column of texts, the
/// label says whether the document answers the query; otherwise the second column has positives and
/// further columns have negatives. Columns may have lists of texts.
///
/// Kinds of findings: empty-text, contradictory-label, positive-as-negative, leaked-query,
/// leaked-document, duplicate-row, near-duplicate, query-as-document, long-text, imbalanced-labels
/// and repeated-text. --remove takes all but long-text, imbalanced-labels and repeated-text.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge lint --dataset data/pairs.parquet
  rankforge lint --dataset data/mined.jsonl --held-out data/test.jsonl --tokenizer models/encoder
  rankforge lint --dataset data/pairs.parquet --remove empty-text,duplicate-row,leaked-query \\
      --output data/clean.parquet")]
pub(crate) struct LintArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Data set whose texts must not be in the training data; may be given several times
    #[arg(long, value_name = "PATH")]
    held_out: Vec<PathBuf>,

    /// Count tokens, with the tokenizer of the model in this directory, in place of words
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,

    /// Length above which a text is long [default: what the tokenizer says, or 380 words]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    max_length: Option<usize>,

    /// Least share of common runs of three words that makes near duplicates, 0 to 1
    #[arg(long, value_name = "SHARE", default_value_t = 0.8)]
    near_duplicate_threshold: f64,

    /// Number of examples of each finding
    #[arg(long, value_name = "N", default_value_t = 3)]
    examples: usize,

    /// Write the rows without these findings to --output
    #[arg(long, value_name = "KIND,...", value_delimiter = ',', requires = "output",
        value_parser = removable)]
    remove: Vec<Kind>,

    /// New .jsonl, .csv, .tsv or .parquet file for the rows that remain
    #[arg(long, value_name = "FILE", requires = "remove")]
    output: Option<PathBuf>,

    /// Fail if there is a finding that is an error
    #[arg(long)]
    strict: bool,
}

/// A kind of findings that leaving out rows repairs.
fn removable(name: &str) -> Result<Kind, String> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.is_removable());
    let names: Vec<&str> = kinds.clone().map(Kind::name).collect();
    let mut found = kinds.filter(|kind| kind.name() == name);
    found.next().ok_or_else(|| format!("expected one of {}", names.join(", ")))
}

/// Runs the command.
///
/// # Errors
/// If the data or the tokenizer cannot be read, the output exists or cannot be written, or, with
/// --strict, a finding is an error.
pub(crate) fn run(args: &LintArgs, console: &Console) -> anyhow::Result<()> {
    let output = args.output.as_deref();
    if let Some(path) = output {
        expect_no_file(path)?;
        // Fails now, not after the search, if the extension is unknown or the directory is missing.
        drop(RowWriter::create(path)?);
    }
    let rows = load_rows(&args.dataset.location())?;
    let held_out = held_out(args)?;
    let data: Vec<HeldOut<'_>> =
        held_out.iter().map(|(name, rows)| HeldOut { name, rows }).collect();
    let lint = examine(args, &rows, &data, console)?;
    let kept = lint.without(&args.remove);
    if let Some(path) = output {
        write_rows(path, &rows, &kept)?;
    }
    let written = output.map(|path| (path, kept.len()));
    let text = || describe(&lint, written);
    let names: Vec<&str> = data.iter().map(|data| data.name).collect();
    let output =
        written.map(|(path, rows)| json!({ "path": path.to_string_lossy(), "rows": rows }));
    console.result(text, &json!({ "lint": lint, "held_out": names, "output": output }))?;
    let errors = lint.findings.iter().filter(|found| found.severity == Severity::Error).count();
    if args.strict && errors > 0 {
        return Err(CliError::input(format!("findings that are errors: {errors}")).into());
    }
    Ok(())
}

/// The other splits of the data set, and what `--held-out` names.
fn held_out(args: &LintArgs) -> anyhow::Result<Vec<(String, Rows)>> {
    let mut all = Vec::new();
    let dataset = &args.dataset.dataset;
    let splits = splits(dataset)?;
    let selected = args.dataset.selection.split.as_deref().unwrap_or("train");
    for (split, _) in splits.iter().filter(|(split, _)| splits.len() > 1 && split != selected) {
        let columns = args.dataset.selection.columns.clone();
        let selection =
            SelectionArgs { split: Some(split.clone()), columns, ..SelectionArgs::default() };
        all.push((format!("split {split}"), load_rows(&selection.location(dataset.clone()))?));
    }
    for path in &args.held_out {
        all.push((path.display().to_string(), load_rows(&Location::new(path))?));
    }
    Ok(all)
}

fn examine(
    args: &LintArgs,
    rows: &Rows,
    held_out: &[HeldOut<'_>],
    console: &Console,
) -> anyhow::Result<Lint> {
    let workers = console.workers()?;
    let name = args.dataset.dataset.display().to_string();
    let mut options = LintOptions {
        name: &name,
        near_duplicate_threshold: args.near_duplicate_threshold,
        examples: args.examples,
        ..LintOptions::default()
    };
    let Some(directory) = &args.tokenizer else {
        options.max_length = args.max_length.or(options.max_length);
        return Ok(Lint::of(rows, held_out, &options, &workers)?);
    };
    let mut tokenizer = Tokenizer::load(directory)?;
    options.max_length = args.max_length.or(tokenizer.max_length());
    tokenizer.set_max_length(None);
    let failure = OnceLock::new();
    let tokens = |text: &str| match tokenizer.encode(&[Input::single(text)]) {
        Ok(tokens) => tokens.iter().map(|tokens| tokens.ids.len()).sum(),
        Err(error) => {
            failure.get_or_init(|| error);
            0
        }
    };
    options.length = Some(&tokens);
    let lint = Lint::of(rows, held_out, &options, &workers)?;
    match failure.into_inner() {
        Some(error) => Err(error.into()),
        None => Ok(lint),
    }
}
