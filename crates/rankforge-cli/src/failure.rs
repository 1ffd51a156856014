//! What went wrong, as the user sees it: one `error:` line, its causes, a hint and an exit code.

use rankforge::data::DataError;
use rankforge::encoder::EncoderError;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

/// Exit code of a command that failed.
const FAILED: u8 = 1;
/// Exit code of a command line that makes no sense, as clap has it.
const USAGE: u8 = 2;
/// Exit code after Ctrl-C, as shells have it.
pub(crate) const INTERRUPTED: u8 = 130;

/// A mistake of the user, with what to do about it.
#[derive(Debug)]
pub(crate) struct Mistake {
    message: String,
    hint: Option<String>,
    code: u8,
}

impl Mistake {
    /// Wrong input.
    pub(crate) fn input(message: impl Into<String>) -> Mistake {
        Mistake { message: message.into(), hint: None, code: FAILED }
    }

    /// Flags that do not go together.
    pub(crate) fn usage(message: impl Into<String>) -> Mistake {
        Mistake { message: message.into(), hint: None, code: USAGE }
    }

    /// Stopped by Ctrl-C.
    pub(crate) fn interrupted(message: impl Into<String>) -> Mistake {
        Mistake { message: message.into(), hint: None, code: INTERRUPTED }
    }

    /// Adds what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Mistake {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Mistake {}

/// Writes the error with its causes and a hint to `stderr` and says with which code to exit.
///
/// A closed pipe on standard output (`rankforge rank ... | head`) is no error.
pub(crate) fn render(error: &anyhow::Error, stderr: &mut dyn Write) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    // Nothing can be said when standard error is closed too; the exit code remains.
    let _ = write_chain(error, stderr);
    let code = if let Some(mistake) = find::<Mistake>(error) {
        mistake.code
    } else if matches!(find::<rankforge::Error>(error), Some(rankforge::Error::Interrupted(_))) {
        INTERRUPTED
    } else {
        FAILED
    };
    ExitCode::from(code)
}

fn write_chain(error: &anyhow::Error, stderr: &mut dyn Write) -> std::io::Result<()> {
    let mut shown = error.to_string();
    writeln!(stderr, "error: {shown}")?;
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Libraries print their source within their own message; do not say it twice.
        if !shown.contains(&cause) {
            writeln!(stderr, "  because: {cause}")?;
        }
        shown = cause;
    }
    if let Some(hint) = hint(error) {
        writeln!(stderr, "hint: {hint}")?;
    }
    stderr.flush()
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(mistake) = find::<Mistake>(error) {
        return mistake.hint.clone();
    }
    let data = find::<DataError>(error).or(match find::<rankforge::Error>(error) {
        Some(rankforge::Error::Data(data)) => Some(data),
        _ => None,
    });
    let encoder = find::<EncoderError>(error).or(match find::<rankforge::Error>(error) {
        Some(rankforge::Error::Encoder(encoder)) => Some(encoder),
        _ => None,
    });
    match (data, encoder) {
        (Some(DataError::Column { .. }), _) => {
            Some("`rankforge info DATASET` lists the columns; name them with --columns".to_owned())
        }
        (Some(DataError::Io { source, .. }), _) | (_, Some(EncoderError::Io { source, .. })) => {
            io_hint(source)
        }
        _ => match find::<rankforge::Error>(error) {
            Some(rankforge::Error::Io { source, .. }) => io_hint(source),
            _ => find::<std::io::Error>(error).and_then(io_hint),
        },
    }
}

fn io_hint(source: &std::io::Error) -> Option<String> {
    match source.kind() {
        std::io::ErrorKind::NotFound => Some(
            "paths are relative to the current directory; nothing is downloaded, so models and \
             data sets are local files and folders"
                .to_owned(),
        ),
        std::io::ErrorKind::StorageFull => {
            Some("the disk is full; what was finished before is intact".to_owned())
        }
        _ => None,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn find<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.downcast_ref::<E>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<E>()))
}

/// The candidate nearest to `name`, when one is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::jaro_winkler(&name.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
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
    fn causes_and_hints_follow_the_error_line() {
        let mistake = Mistake::input("no such thing").hint("bring one");
        let error = Err::<(), _>(mistake).context("cannot go on").unwrap_err();
        assert_eq!(
            rendered(&error),
            "error: cannot go on\n  because: no such thing\nhint: bring one\n"
        );
    }

    #[test]
    fn a_source_that_the_message_repeats_is_shown_once() {
        let source = std::io::Error::from(std::io::ErrorKind::NotFound);
        let error = DataError::Io { path: "rows.jsonl".into(), source };
        let text = rendered(&rankforge::Error::from(error).into());
        assert!(text.starts_with("error: rows.jsonl: "), "{text}");
        assert!(!text.contains("because"), "{text}");
        assert!(text.contains("hint: paths are relative"), "{text}");
    }

    #[test]
    fn a_closed_pipe_says_nothing() {
        let error = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(rendered(&error), "");
    }

    #[test]
    fn the_nearest_name_is_found_only_when_it_is_near() {
        let names = ["learning_rate", "logging_steps", "seed"];
        assert_eq!(nearest("learning_rat", names), Some("learning_rate"));
        assert_eq!(nearest("Logging-Steps", names), Some("logging_steps"));
        assert_eq!(nearest("qqq", names), None);
    }
}
