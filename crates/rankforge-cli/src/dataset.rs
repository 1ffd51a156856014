//! The flags that name a data set.

use crate::failure::CliError;
use crate::inference::at_least_one;
use crate::interrupt::Graceful;
use rankforge::data::{Location, RowWriter, Rows};
use std::path::{Path, PathBuf};

/// A data set and the part of it to read.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DatasetArgs {
    /// Data set: a .jsonl, .csv, .tsv, .parquet or .arrow file, or a directory of such files
    #[arg(long, value_name = "PATH")]
    pub(crate) dataset: PathBuf,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
}

/// The part of a data set to read.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SelectionArgs {
    /// Split of a data set directory, e.g. train or test [default: train, or the only split]
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,

    /// Columns to read, in this order, separated by commas [default: all, in the file's order]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,

    /// Read only the first N rows [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) limit: Option<usize>,
}

impl DatasetArgs {
    /// The rows that the flags select.
    pub(crate) fn location(&self) -> Location {
        self.selection.location(self.dataset.clone())
    }
}

impl SelectionArgs {
    /// The rows that the flags select from the data set at `path`.
    pub(crate) fn location(&self, path: PathBuf) -> Location {
        Location {
            path,
            split: self.split.clone(),
            columns: self.columns.clone(),
            limit: self.limit,
            header: None,
        }
    }
}

/// The columns of `--columns`, one per role.
///
/// # Errors
/// If the number of columns differs from the number of roles.
pub(crate) fn roles<'a>(columns: &'a [String], roles: &[&str]) -> Result<Vec<&'a str>, CliError> {
    if columns.len() != roles.len() {
        return Err(CliError::usage(format!(
            "--columns: expected {} names ({}), got {}: {}",
            roles.len(),
            roles.join(", "),
            columns.len(),
            columns.join(", ")
        )));
    }
    Ok(columns.iter().map(String::as_str).collect())
}

/// Checks that there is nothing yet where the rows that a command makes are to be written.
///
/// # Errors
/// If there is a file.
pub(crate) fn expect_no_file(output: &Path) -> Result<(), CliError> {
    if output.symlink_metadata().is_err() {
        return Ok(());
    }
    let message = format!("{}: the file exists, and is not replaced", output.display());
    Err(CliError::input(message).hint("remove it, or choose another --output"))
}

/// Checks that a command read rows from the data set at `path`.
///
/// # Errors
/// If `count` is 0.
pub(crate) fn expect_rows(count: usize, path: &Path) -> Result<(), CliError> {
    if count > 0 {
        return Ok(());
    }
    Err(CliError::input(format!("{}: expected at least one row, got none", path.display())))
}

/// Writes the rows at these indices to a new file.
///
/// # Errors
/// If the file exists or cannot be written, or the user pressed Ctrl-C.
pub(crate) fn write_rows(path: &Path, rows: &Rows, indices: &[usize]) -> anyhow::Result<()> {
    /// Rows that are written at a time.
    const CHUNK: usize = 8192;
    expect_no_file(path)?;
    // Without it Ctrl-C would exit at once and leave the temporary file of the writer.
    let graceful = Graceful::begin();
    let mut writer = RowWriter::create(path)?;
    writer.begin(rows)?;
    for chunk in indices.chunks(CHUNK) {
        graceful.check()?;
        writer.write(&rows.select(chunk))?;
    }
    writer.finish()?;
    Ok(())
}
