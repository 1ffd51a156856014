//! Data sets by flag.

use crate::failure::Mistake;
use rankforge::data::Location;
use std::path::PathBuf;

/// Which rows and columns of a data set.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct DatasetArgs {
    /// Data set: a .jsonl, .csv, .tsv or .parquet file, or a folder of them
    #[arg(long, value_name = "PATH")]
    pub(crate) dataset: PathBuf,

    #[command(flatten)]
    pub(crate) selection: SelectionArgs,
}

/// Which part of a data set.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct SelectionArgs {
    /// Split of a folder: the files whose names start so [default: train, or the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) split: Option<String>,

    /// Columns by role, in order, separated by commas [default: all, in the file's order]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    pub(crate) columns: Option<Vec<String>>,

    /// Read the first N rows only
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
}

impl DatasetArgs {
    /// Where the rows are.
    pub(crate) fn location(&self) -> Location {
        self.selection.location(self.dataset.clone())
    }
}

impl SelectionArgs {
    /// Where the rows are, in the data set at `path`.
    pub(crate) fn location(&self, path: PathBuf) -> Location {
        Location {
            path,
            split: self.split.clone(),
            columns: self.columns.clone(),
            limit: self.limit,
        }
    }
}

/// Checks that as many columns were named as there are roles.
///
/// # Errors
/// Another number of them.
pub(crate) fn roles<'a>(columns: &'a [String], roles: &[&str]) -> Result<Vec<&'a str>, Mistake> {
    if columns.len() != roles.len() {
        return Err(Mistake::usage(format!(
            "--columns names {} column(s), expected {}: {}",
            columns.len(),
            roles.len(),
            roles.join(", ")
        )));
    }
    Ok(columns.iter().map(String::as_str).collect())
}
