//! Texts of a file or of standard input: a column of a data set, or lines.

use crate::failure::CliError;
use crate::lines::{holds_lines, read_lines};
use rankforge::data::load_texts;
use std::path::Path;

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
    let is_text = holds_lines(path);
    if column.is_some() && is_text {
        return Err(CliError::usage(format!(
            "{flag} cannot be used with lines of text, which have no columns"
        ))
        .into());
    }
    let texts = if is_text { read_lines(path)? } else { load_texts(path, column)? };
    if texts.is_empty() {
        let is_standard_input = path.as_os_str() == "-";
        let name = if is_standard_input { "standard input".into() } else { path.to_string_lossy() };
        return Err(
            CliError::input(format!("{name}: expected at least one {what}, got none")).into()
        );
    }
    Ok(texts)
}
