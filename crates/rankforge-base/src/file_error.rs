use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// An error about a file or directory, with its path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Opening, reading, writing or renaming failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The file was read, but its content or kind is not what was expected.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file or directory.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
}

impl FileError {
    /// A function that turns an I/O error on `path` into a [`FileError`], for `map_err`.
    pub fn io(path: &Path) -> impl FnOnce(io::Error) -> FileError + Copy + '_ {
        move |source| FileError::Io { path: path.to_owned(), source }
    }

    /// A [`FileError::Content`] with this message.
    pub fn content(path: &Path, message: impl Into<String>) -> FileError {
        FileError::Content { path: path.to_owned(), message: message.into() }
    }

    /// The file or directory that the error is about.
    pub fn path(&self) -> &Path {
        match self {
            FileError::Io { path, .. } | FileError::Content { path, .. } => path,
        }
    }

    /// Advice to the user on how to resolve the error, where there is any.
    pub fn hint(&self) -> Option<String> {
        match self {
            FileError::Io { source, .. } => io_hint(source).map(str::to_owned),
            FileError::Content { .. } => None,
        }
    }
}

/// Advice on how to resolve an I/O error, where there is any.
fn io_hint(error: &io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::NotFound => Some(
            "paths are relative to the current directory; for the Hub, see `rankforge download`",
        ),
        ErrorKind::StorageFull => {
            Some("the disk is full; files that were completed before are intact")
        }
        _ => None,
    }
}
