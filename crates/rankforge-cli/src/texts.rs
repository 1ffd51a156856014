//! Texts of a file or of standard input: a column of a data set, or lines.

use crate::failure::CliError;
use anyhow::Context;
use rankforge::data::{has_known_extension, load_texts};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Extensions of compressed files, whose bytes are not lines of text.
const COMPRESSED: [&str; 9] = ["gz", "tgz", "zst", "zip", "bz2", "xz", "lz4", "br", "7z"];

/// Whether a path holds lines of text: a file whose extension names no format, or a pipe, whose
/// extension means nothing (`/dev/stdin`, `<(...)`).
fn holds_lines(path: &Path) -> bool {
    let is_table = path.is_file() && has_known_extension(path);
    path.exists() && !path.is_dir() && !is_table
}

/// The lines of a text that are not blank. `name` is where it is from, and `what` a line of it.
///
/// # Errors
/// If the text cannot be read, or is not UTF-8; the error names the line.
fn read_lines(input: impl Read, name: &str, what: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (index, bytes) in BufReader::new(input).split(b'\n').enumerate() {
        let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
        let line = std::str::from_utf8(&bytes).map_err(|error| {
            let (line, byte) = (index + 1, error.valid_up_to() + 1);
            CliError::input(format!("{name}, line {line}: invalid UTF-8 at byte {byte}"))
                .hint(format!("{what}s are lines of UTF-8 text, or a column of a data set"))
        })?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.trim().is_empty() {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

/// The texts of a file or of standard input; blank lines of text are skipped. In messages, `flag`
/// names the column, and a text is a `what`.
///
/// # Errors
/// If they cannot be read, there is none, the file is compressed, or a column is given for lines of
/// text.
pub(crate) fn read_texts(
    path: &Path,
    column: Option<&str>,
    flag: &str,
    what: &str,
) -> anyhow::Result<Vec<String>> {
    let is_standard_input = path.as_os_str() == "-";
    let is_text = holds_lines(path);
    let is_compressed = path.extension().is_some_and(|extension| {
        COMPRESSED.iter().any(|compressed| extension.eq_ignore_ascii_case(compressed))
    });
    if is_compressed && path.is_file() {
        let message = format!("{}: compressed files are not read", path.display());
        return Err(CliError::input(message).hint("decompress the file first").into());
    }
    if column.is_some() && (is_standard_input || is_text) {
        return Err(CliError::usage(format!(
            "{flag} cannot be used with lines of text, which have no columns"
        ))
        .into());
    }
    let texts = if is_standard_input {
        read_lines(std::io::stdin().lock(), "standard input", what)?
    } else if is_text {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        read_lines(file, &name, what)?
    } else {
        load_texts(path, column)?
    };
    if texts.is_empty() {
        let name = if is_standard_input { "standard input".into() } else { path.to_string_lossy() };
        return Err(
            CliError::input(format!("{name}: expected at least one {what}, got none")).into()
        );
    }
    Ok(texts)
}
