//! Lines of text, from a file, a pipe or standard input.

use crate::failure::CliError;
use anyhow::Context;
use rankforge::data::has_known_extension;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Extensions of compressed files, whose bytes are not lines of text.
const COMPRESSED: [&str; 9] = ["gz", "tgz", "zst", "zip", "bz2", "xz", "lz4", "br", "7z"];

/// Whether a path is standard input, or holds lines of text: a file whose extension names no
/// format, or a pipe, whose extension means nothing (`/dev/stdin`, `<(...)`).
pub(crate) fn holds_lines(path: &Path) -> bool {
    let is_table = path.is_file() && has_known_extension(path);
    path.as_os_str() == "-" || (path.exists() && !path.is_dir() && !is_table)
}

/// The lines of a text that are not blank. `-` is standard input.
///
/// # Errors
/// If the text cannot be read, is compressed, or is not UTF-8; the error names the line.
pub(crate) fn read_lines(path: &Path) -> anyhow::Result<Vec<String>> {
    if path.as_os_str() == "-" {
        return lines_of(std::io::stdin().lock(), "standard input");
    }
    let name = path.display().to_string();
    let is_compressed = path.extension().is_some_and(|extension| {
        COMPRESSED.iter().any(|compressed| extension.eq_ignore_ascii_case(compressed))
    });
    if is_compressed && path.is_file() {
        let message = format!("{name}: compressed files are not read");
        return Err(CliError::input(message).hint("decompress the file first").into());
    }
    lines_of(File::open(path).with_context(|| format!("cannot read {name}"))?, &name)
}

/// The lines of `input` that are not blank. `name` is where it is from.
fn lines_of(input: impl Read, name: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (index, bytes) in BufReader::new(input).split(b'\n').enumerate() {
        let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
        let line = std::str::from_utf8(&bytes).map_err(|error| {
            let (line, byte) = (index + 1, error.valid_up_to() + 1);
            CliError::input(format!("{name}, line {line}: invalid UTF-8 at byte {byte}"))
                .hint("texts are lines of UTF-8, or a column of a data set")
        })?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.trim().is_empty() {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}
