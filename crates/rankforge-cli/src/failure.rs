//! How a failed command ends: an `error:` line, its causes, a hint, and an exit code.

use crate::signal;
use crate::terminal::escaped;
use rankforge::Error;
use rankforge::base::FileError;
use rankforge::data::DataError;
use rankforge::encoder::EncoderError;
use rankforge_index::IndexError;
use std::fmt;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code of an invalid command line, the same as clap's.
const USAGE: u8 = 2;

/// An error of the command line itself, with an optional hint and an exit code.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl CliError {
    /// Unusable input; exit code 1.
    pub(crate) fn input(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), hint: None, code: FAILED }
    }

    /// Flags that are missing or contradict each other; exit code 2.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), hint: None, code: USAGE }
    }

    /// Stopped by a signal; the exit code tells which.
    pub(crate) fn interrupted(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), hint: None, code: signal::exit_code() }
    }

    /// Adds a line that says what the user can do about the error.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> CliError {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CliError {}

/// Writes the error, its causes and a hint to `stderr`, and returns the exit code.
///
/// A closed pipe on standard output (`rankforge rank ... | head`) counts as success and prints
/// nothing.
pub(crate) fn render(error: &anyhow::Error, stderr: &mut dyn Write) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // If standard error is closed too, the exit code is all that can be reported.
    let _ = write_chain(error, stderr);
    let code = if let Some(error) = find::<CliError>(error) {
        error.code
    } else if let Some(Error::Interrupted { .. } | Error::Stopped { .. }) = find(error) {
        signal::exit_code()
    } else if let Some(IndexError::Stopped { .. } | IndexError::NotCompacted { .. }) = find(error) {
        signal::exit_code()
    } else {
        FAILED
    };
    ExitCode::from(code)
}

fn write_chain(error: &anyhow::Error, stderr: &mut dyn Write) -> std::io::Result<()> {
    let mut message = error.to_string();
    writeln!(stderr, "error: {}", escaped(&message))?;
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Many libraries include the message of the source in their own; print it once.
        if !message.contains(&cause) {
            writeln!(stderr, "  caused by: {}", escaped(&cause))?;
        }
        message = cause;
    }
    if let Some(hint) = hint(error) {
        writeln!(stderr, "hint: {}", escaped(&hint))?;
    }
    stderr.flush()
}

/// The hint of the first error in the chain that has one.
fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = find::<CliError>(error) {
        return error.hint.clone();
    }
    let hints = [
        find::<Error>(error).and_then(Error::hint),
        find::<IndexError>(error).and_then(IndexError::hint),
        find::<EncoderError>(error).and_then(EncoderError::hint),
        find::<DataError>(error).and_then(DataError::hint),
        find::<FileError>(error).and_then(FileError::hint),
    ];
    hints.into_iter().flatten().next().or_else(|| {
        let source = find::<std::io::Error>(error)?;
        FileError::io(Path::new(""))(std::io::Error::from(source.kind())).hint()
    })
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

/// The first error of type `E` in the chain.
fn find<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.downcast_ref::<E>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<E>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    fn rendered(error: &anyhow::Error) -> String {
        let mut text = Vec::new();
        render(error, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_error_line_is_followed_by_causes_and_a_hint() {
        let source = CliError::input("no rows").hint("add a row");
        let error = Err::<(), _>(source).context("cannot train").unwrap_err();
        assert_eq!(
            rendered(&error),
            "error: cannot train\n  caused by: no rows\nhint: add a row\n"
        );
    }

    #[test]
    fn a_cause_that_the_message_contains_is_printed_once() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = DataError::from(FileError::io(Path::new("rows.jsonl"))(source));
        let text = rendered(&Error::from(error).into());
        assert!(text.starts_with("error: rows.jsonl: "), "{text}");
        assert!(!text.contains("caused by"), "{text}");
        assert!(text.contains("hint: paths are relative"), "{text}");
    }

    #[test]
    fn a_closed_pipe_prints_nothing() {
        let error = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(rendered(&error), "");
    }
}
