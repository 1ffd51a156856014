use rankforge_base::{FileError, nearest, quoted_list};
use std::path::{Path, PathBuf};

/// Errors of reading and writing data sets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file or directory cannot be read or written, or its content is not what was expected.
    #[error(transparent)]
    File(#[from] FileError),
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
    /// A row cannot be read from a parquet file, or cannot be written in the format of a file.
    #[error("{}, row {row}: {message}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Number of the row, from 1.
        row: u64,
        /// What was expected and what was found.
        message: String,
    },
    /// A column is missing, or its values are not of the expected type.
    #[error("column `{column}`: {message}")]
    Column {
        /// Name of the column.
        column: String,
        /// What was expected and what was found; for a missing column, which columns there are.
        message: String,
    },
}

impl DataError {
    /// Advice to the user on how to resolve the error, where there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            DataError::File(error) => error.hint(),
            DataError::Column { .. } => {
                Some("`rankforge info DATASET` lists the columns".to_owned())
            }
            DataError::Line { .. } | DataError::Row { .. } => None,
        }
    }

    pub(crate) fn io(path: &Path, source: std::io::Error) -> DataError {
        FileError::io(path)(source).into()
    }

    pub(crate) fn file(path: &Path, message: impl Into<String>) -> DataError {
        FileError::content(path, message).into()
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

    /// `column` is not among the columns `available` in `location` ("in rows.csv"). The message
    /// lists them and suggests the nearest name.
    pub(crate) fn missing_column(column: &str, location: &str, available: &[&str]) -> DataError {
        let list = quoted_list(available.iter().copied());
        let suggestion = suggestion(column, available);
        DataError::column(column, format!("not {location}, which has {list}{suggestion}"))
    }

    /// The file `path` has `column`, which the first file of its split lacks; that one has the
    /// columns `expected`.
    pub(crate) fn unexpected_column(column: &str, path: &Path, expected: &[&str]) -> DataError {
        let list = quoted_list(expected.iter().copied());
        let suggestion = suggestion(column, expected);
        let path = path.display();
        DataError::column(
            column,
            format!(
                "in {path} but not in the first file of the split, which has {list}{suggestion}"
            ),
        )
    }
}

/// "; did you mean `NAME`?" with the candidate nearest to a misspelt `name`; empty when none is
/// near.
pub(crate) fn suggestion(name: &str, candidates: &[&str]) -> String {
    nearest(name, candidates.iter().copied())
        .map_or_else(String::new, |candidate| format!("; did you mean `{candidate}`?"))
}
