use crate::store::Store;
use rankforge_base::FileError;
use rankforge_data::DataError;
use rankforge_encoder::EncoderError;
use std::path::PathBuf;

/// Errors of building, opening and searching indexes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A file or directory cannot be read or written, or its content is not what was expected.
    #[error(transparent)]
    File(#[from] FileError),
    /// A corpus cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A model cannot be read or refuses a text.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// Two texts have the same id.
    #[error("{}: rows {first} and {second} have the same id \"{id}\"", path.display())]
    DuplicateId {
        /// The corpus.
        path: PathBuf,
        /// The id.
        id: String,
        /// Number of the first of the rows, from 1.
        first: usize,
        /// Number of the other, from 1.
        second: usize,
    },
    /// A text to append has the id of one that the index has.
    #[error(
        "{}: row {row} has the id \"{id}\", which row {stored} of the index has",
        path.display()
    )]
    KnownId {
        /// The corpus.
        path: PathBuf,
        /// The id.
        id: String,
        /// Number of the row in the corpus, from 1.
        row: usize,
        /// Number of the row of the index, from 1.
        stored: usize,
    },
    /// There is no text of this id, or it was deleted before.
    #[error("{}: no text has the id \"{id}\"", path.display())]
    UnknownId {
        /// The index.
        path: PathBuf,
        /// The id.
        id: String,
    },
    /// A model is not the one that made the vectors of an index.
    #[error("{}: its vectors were made by another model: {message}", path.display())]
    OtherModel {
        /// The index.
        path: PathBuf,
        /// What was expected and what was given.
        message: String,
    },
    /// The index lacks what a search needs.
    #[error("{}: the index has no {what}", path.display())]
    Lacks {
        /// The index.
        path: PathBuf,
        /// `vectors` or `BM25`.
        what: &'static str,
    },
    /// An index that an earlier run has not finished.
    #[error("{}: {message}", path.display())]
    Unfinished {
        /// The index.
        path: PathBuf,
        /// What was expected and what was found.
        message: String,
    },
    /// There is an index already.
    #[error("{}: expected a new or empty directory, got a complete index", path.display())]
    Exists {
        /// The index.
        path: PathBuf,
    },
    /// A vector cannot be stored.
    #[error("row {row}: the embedding has numbers that {store} cannot hold")]
    Store {
        /// Number of the row, from 1.
        row: usize,
        /// How vectors are stored.
        store: Store,
    },
    /// The user asked to stop.
    #[error("{}: stopped after {rows} of {total} rows; the rows are kept", path.display())]
    Stopped {
        /// The index.
        path: PathBuf,
        /// Rows that are done.
        rows: usize,
        /// Rows of the corpus.
        total: usize,
    },
    /// The user asked to stop before the index was rewritten.
    #[error("{}: stopped before it was rewritten; the index is as it was", path.display())]
    NotCompacted {
        /// The index.
        path: PathBuf,
    },
    /// The inverted index cannot be built or searched.
    #[error("BM25: {0}")]
    Bm25(String),
    /// An argument has a value that is not allowed.
    #[error("`{argument}`: expected {expected}, got {got}")]
    Argument {
        /// Name of the argument.
        argument: &'static str,
        /// What would be accepted.
        expected: String,
        /// What was given.
        got: String,
    },
}

impl IndexError {
    /// Advice to the user on how to resolve the error, where there is any.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            IndexError::File(error) => return error.hint(),
            IndexError::Data(error) => return error.hint(),
            IndexError::Encoder(error) => return error.hint(),
            IndexError::KnownId { .. } => "delete the rows of the index first, or leave them out",
            IndexError::OtherModel { .. } => {
                "search with the model that the index was built with, or build it again"
            }
            IndexError::Lacks { what: "BM25", .. } => "build the index with BM25",
            IndexError::Lacks { .. } => "build the index with a model",
            IndexError::Unfinished { .. } => {
                "run the command that was interrupted again to finish it, or with --restart to \
                 discard what it left"
            }
            IndexError::Exists { .. } => "append to it, delete it first, or choose another path",
            IndexError::Store { .. } => "store the vectors as f32",
            IndexError::Stopped { .. } => "the same command continues",
            IndexError::DuplicateId { .. }
            | IndexError::UnknownId { .. }
            | IndexError::NotCompacted { .. }
            | IndexError::Bm25(_)
            | IndexError::Argument { .. } => return None,
        };
        Some(hint.to_owned())
    }

    pub(crate) fn bm25(error: impl std::fmt::Display) -> IndexError {
        IndexError::Bm25(error.to_string())
    }
}
