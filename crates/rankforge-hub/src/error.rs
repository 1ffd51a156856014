use rankforge_base::FileError;

/// Errors of the Hub and of its cache.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A file of the cache cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A text is not the name of a repository.
    #[error("`{text}`: {expected}")]
    Name {
        /// The text.
        text: String,
        /// What was expected.
        expected: String,
    },
    /// The Hub has no such repository, revision or file, or does not give it to this user.
    #[error("{what}: {message}")]
    Refused {
        /// The repository, or an address.
        what: String,
        /// Why, and what to do.
        message: String,
    },
    /// The repository has no file that is wanted.
    #[error("{repo}: no file that can be used")]
    NothingWanted {
        /// The repository.
        repo: String,
    },
    /// There is no answer, or one that says that the Hub is busy; it may be another later.
    #[error("{what}: {message}")]
    Unavailable {
        /// The repository, or an address.
        what: String,
        /// What happened.
        message: String,
    },
    /// The work was interrupted.
    #[error("interrupted; a download that was begun continues next time")]
    Interrupted,
}

impl HubError {
    pub(crate) fn refused(what: impl Into<String>, message: impl Into<String>) -> HubError {
        HubError::Refused { what: what.into(), message: message.into() }
    }

    pub(crate) fn unavailable(what: impl Into<String>, message: impl Into<String>) -> HubError {
        HubError::Unavailable { what: what.into(), message: message.into() }
    }
}
