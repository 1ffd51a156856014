use crate::line::Line;
use crate::outcome::Outcome;
use rankforge_base::FileError;

/// Where the lines of a run go. Its methods run on a thread of its own, and may block.
pub(crate) trait Sink: Send {
    /// Opens the run. After a failure that may pass it is called again, and goes on.
    ///
    /// # Errors
    /// If the run cannot be opened.
    fn begin(&mut self) -> Result<Option<String>, Failure>;

    /// Adds lines to the run. After a failure that may pass it is called again with the same.
    ///
    /// # Errors
    /// If they cannot be added.
    fn write(&mut self, lines: &[Line]) -> Result<(), Failure>;

    /// Ends the run.
    ///
    /// # Errors
    /// If the end cannot be told.
    fn end(&mut self, outcome: Outcome) -> Result<(), Failure>;
}

/// Why a tracker could not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) message: String,
    /// Whether it may go well later.
    pub(crate) may_pass: bool,
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Failure {
        Failure { message: error.to_string(), may_pass: false }
    }
}
