use rankforge_base::{FileError, nearest, quoted_list};
use std::path::{Path, PathBuf};

/// The extensions of data files, for messages.
pub(crate) const EXTENSIONS: &str = ".jsonl, .json, .ndjson, .csv or .tsv, each of them also with \
                                     .gz or .zst, .parquet, .arrow, .feather or .ipc";

/// Errors of reading and writing data sets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or directory cannot be read or written, or its content is not what was expected.
    #[error(transparent)]
    File(#[from] FileError),
    /// A data set is neither a directory nor a file whose extension names its format.
    #[error("{}: unknown extension: expected {EXTENSIONS}", path.display())]
    UnknownExtension {
        /// The file.
        path: PathBuf,
        /// Whether it is a regular file, and not a pipe or device.
        is_file: bool,
    },
    /// A line of a text file is malformed.
    #[error("{}, line {line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: u64,
        /// What was expected and what was found.
        message: String,
    },
    /// A row cannot be written in the format of a file.
    #[error("{}, row {row}: {message}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
        /// What was expected and what was found.
        message: String,
    },
    /// The data have no column of this name.
    #[error("column `{column}`: not in {place}, which has {}", listed(column, columns))]
    MissingColumn {
        /// The name.
        column: String,
        /// Where it was looked for: a file, or "the data".
        place: String,
        /// Names of the columns that there are.
        columns: Vec<String>,
    },
    /// A value is not what the role of its column asks for.
    #[error(
        "{}row {row}, column `{column}`: expected {expected}, got {got}",
        path.as_ref().map_or_else(String::new, |path| format!("{}, ", path.display()))
    )]
    Cell {
        /// The file or directory that the rows were read from.
        path: Option<PathBuf>,
        /// Name of the column.
        column: String,
        /// Number of the row, from 1. Headers and blank lines do not count; the rows of a directory
        /// are those of all files of the split.
        row: usize,
        /// What would be accepted.
        expected: String,
        /// What was found.
        got: String,
    },
    /// The values of a column cannot be put together with others.
    #[error("column `{column}`: {message}")]
    Column {
        /// Name of the column.
        column: String,
        /// What was expected and what was found.
        message: String,
    },
}

impl DataError {
    /// Advice to the user on how to resolve the error, where there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            DataError::File(error) => error.hint(),
            DataError::MissingColumn { .. } => {
                Some("name a column that the data have, or rename the column there".to_owned())
            }
            DataError::UnknownExtension { is_file, .. } => Some(
                if *is_file {
                    "rename the file so that its extension names its format"
                } else {
                    "write what the pipe holds to a file whose extension names its format"
                }
                .to_owned(),
            ),
            DataError::Line { .. }
            | DataError::Row { .. }
            | DataError::Cell { .. }
            | DataError::Column { .. } => None,
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> DataError {
        FileError::io(path)(source).into()
    }

    pub(crate) fn file(path: &Path, message: impl Into<String>) -> DataError {
        FileError::content(path, message).into()
    }

    /// The error for a chunk of a table, as one for the table; the chunk stands after `rows` rows.
    pub fn after_rows(mut self, rows: usize) -> DataError {
        if let DataError::Cell { row, .. } = &mut self {
            *row += rows;
        }
        self
    }

    pub(crate) fn line(path: &Path, line: u64, message: impl Into<String>) -> DataError {
        DataError::Line { path: path.to_owned(), line, message: message.into() }
    }

    pub(crate) fn row(path: &Path, row: u64, message: impl Into<String>) -> DataError {
        DataError::Row { path: path.to_owned(), row, message: message.into() }
    }

    pub(crate) fn column(column: &str, message: impl Into<String>) -> DataError {
        DataError::Column { column: column.to_owned(), message: message.into() }
    }

    /// `column` is not among the columns `available` in `place`.
    pub(crate) fn missing_column(column: &str, place: &str, available: &[&str]) -> DataError {
        let (column, place) = (column.to_owned(), place.to_owned());
        DataError::MissingColumn { column, place, columns: owned(available) }
    }
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// The names of columns, and that of them which is nearest to `column`.
fn listed(column: &str, columns: &[String]) -> String {
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    format!("{}{}", quoted_list(names.iter().copied()), suggestion(column, &names))
}

/// "; did you mean `NAME`?" with the candidate nearest to a misspelt `name`; empty when none is
/// near.
pub(crate) fn suggestion(name: &str, candidates: &[&str]) -> String {
    nearest(name, candidates.iter().copied())
        .map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}
