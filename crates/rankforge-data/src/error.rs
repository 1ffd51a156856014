use std::path::{Path, PathBuf};

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

impl DataError {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> DataError {
        DataError::Io { path: path.to_owned(), source }
    }

    pub(crate) fn file(path: &Path, message: impl Into<String>) -> DataError {
        DataError::File { path: path.to_owned(), message: message.into() }
    }

    pub(crate) fn row(path: &Path, line: u64, message: impl Into<String>) -> DataError {
        DataError::Row { path: path.to_owned(), line, message: message.into() }
    }

    pub(crate) fn column(column: &str, message: impl Into<String>) -> DataError {
        DataError::Column { column: column.to_owned(), message: message.into() }
    }

    /// A column that is not `place`; lists what is there and suggests the nearest name.
    pub(crate) fn missing_column(column: &str, place: &str, there: &[&str]) -> DataError {
        let hint = nearest(column, there)
            .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
        DataError::column(
            column,
            format!("not {place}, which has {}{hint}", list(there.iter().copied())),
        )
    }
}

/// `` `a`, `b` and `c` ``.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// The candidate with the fewest edits from `name`, when at most a third of its characters (or two) differ.
pub(crate) fn nearest<'a>(name: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let name = name.to_lowercase();
    let allowed = (name.chars().count() / 3).max(2);
    candidates
        .iter()
        .map(|&candidate| {
            (strsim::damerau_levenshtein(&name, &candidate.to_lowercase()), candidate)
        })
        .filter(|&(edits, candidate)| edits <= allowed && edits < candidate.chars().count())
        .min_by_key(|&(edits, _)| edits)
        .map(|(_, candidate)| candidate)
}
