use rankforge_base::FileError;

/// Errors of building, opening and searching indexes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A file or directory cannot be read or written, or its content is not what was expected.
    #[error(transparent)]
    File(#[from] FileError),
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
        match self {
            IndexError::File(error) => error.hint(),
            IndexError::Bm25(_) | IndexError::Argument { .. } => None,
        }
    }

    pub(crate) fn bm25(error: impl std::fmt::Display) -> IndexError {
        IndexError::Bm25(error.to_string())
    }
}
