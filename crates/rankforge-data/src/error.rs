use std::path::PathBuf;

/// What can go wrong with a data set.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file or folder is not what it should be.
    #[error("{}: {message}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong, what was expected and what came.
        message: String,
    },
    /// A row is malformed.
    #[error("{}, line {line}: {message}", path.display())]
    Row {
        /// Which file.
        path: PathBuf,
        /// Line in text files, row in parquet files, from 1.
        line: u64,
        /// What is wrong, what was expected and what came.
        message: String,
    },
    /// A column is missing or holds something else.
    #[error("column `{column}`: {message}")]
    Column {
        /// Which column.
        column: String,
        /// What was expected, what came, and which columns there are.
        message: String,
    },
}
