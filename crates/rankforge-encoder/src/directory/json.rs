//! JSON files of a model directory: read, and told about when they are wrong.

use crate::EncoderError;
use serde_json::Value;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// Reads a JSON object.
///
/// # Errors
/// No such file, malformed text (with line and column), or something else than an object.
pub(crate) fn read_object(path: &Path) -> Result<Value, EncoderError> {
    let value = parse(&read_bytes(path)?, path)?;
    if !value.is_object() {
        return Err(file_error(path, format!("expected a JSON object, got {}", kind(&value))));
    }
    Ok(value)
}

/// Reads a JSON object if the file is there.
///
/// # Errors
/// As [`read_object`], a missing file aside.
pub(crate) fn read_optional_object(path: &Path) -> Result<Option<Value>, EncoderError> {
    if exists(path)? { read_object(path).map(Some) } else { Ok(None) }
}

/// Parses JSON; `path` is for errors, which say line and column.
///
/// # Errors
/// Malformed text.
pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Value, EncoderError> {
    serde_json::from_slice(bytes)
        .map_err(|error| file_error(path, format!("malformed JSON: {error}")))
}

/// Reads a whole file.
///
/// # Errors
/// When the operating system refuses.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, EncoderError> {
    fs::read(path).map_err(|source| EncoderError::Io { path: path.to_owned(), source })
}

/// Whether there is a file; anything else than "no such file" is an error.
///
/// # Errors
/// When the operating system refuses to say.
pub(crate) fn exists(path: &Path) -> Result<bool, EncoderError> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(source) => Err(EncoderError::Io { path: path.to_owned(), source }),
    }
}

/// Writes pretty JSON with a newline at the end.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), EncoderError> {
    let mut text = serde_json::to_string_pretty(value).expect("a JSON value can be written");
    text.push('\n');
    write_bytes(path, text.as_bytes())
}

/// Writes a file to a temporary name, then renames it.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), EncoderError> {
    let io = |source| EncoderError::Io { path: path.to_owned(), source };
    let directory = path.parent().expect("a file of a model directory has a parent");
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    share(file.as_file()).map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// Temporary files are private to their owner; model files are readable by all.
#[cfg(unix)]
fn share(file: &fs::File) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn share(_file: &fs::File) -> std::io::Result<()> {
    Ok(())
}

/// A string field; `None` when absent or null.
///
/// # Errors
/// A value of another type.
pub(crate) fn optional_str<'a>(
    object: &'a Value,
    field: &str,
    path: &Path,
) -> Result<Option<&'a str>, EncoderError> {
    optional(object, field, path, "a string", Value::as_str)
}

/// A boolean field; `None` when absent or null.
///
/// # Errors
/// A value of another type.
pub(crate) fn optional_bool(
    object: &Value,
    field: &str,
    path: &Path,
) -> Result<Option<bool>, EncoderError> {
    optional(object, field, path, "true or false", Value::as_bool)
}

/// A whole number; `None` when absent or null.
///
/// # Errors
/// A value of another type, negative or not whole.
pub(crate) fn optional_usize(
    object: &Value,
    field: &str,
    path: &Path,
) -> Result<Option<usize>, EncoderError> {
    optional(object, field, path, "a whole number", |value| {
        value.as_u64().and_then(|number| usize::try_from(number).ok())
    })
}

/// A whole number that must be there and not be 0.
///
/// # Errors
/// When it is not.
pub(crate) fn require_positive(
    object: &Value,
    field: &str,
    path: &Path,
) -> Result<usize, EncoderError> {
    match optional_usize(object, field, path)? {
        Some(number) if number > 0 => Ok(number),
        _ => Err(field_error(path, field, "a positive whole number", object.get(field))),
    }
}

/// `max_position_embeddings`, where a config has it and it is a limit.
///
/// # Errors
/// A value that is no whole number; -1 is none.
pub(crate) fn optional_positions(
    config: &Value,
    path: &Path,
) -> Result<Option<usize>, EncoderError> {
    const FIELD: &str = "max_position_embeddings";
    if config.get(FIELD).and_then(Value::as_i64) == Some(-1) {
        return Ok(None);
    }
    optional_usize(config, FIELD, path)
}

/// A string field that must be there.
///
/// # Errors
/// When it is not.
pub(crate) fn require_str<'a>(
    object: &'a Value,
    field: &str,
    path: &Path,
) -> Result<&'a str, EncoderError> {
    optional_str(object, field, path)?
        .ok_or_else(|| field_error(path, field, "a string", object.get(field)))
}

fn optional<'a, T>(
    object: &'a Value,
    field: &str,
    path: &Path,
    expected: &str,
    read: impl FnOnce(&'a Value) -> Option<T>,
) -> Result<Option<T>, EncoderError> {
    match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match read(value) {
            Some(result) => Ok(Some(result)),
            None => Err(field_error(path, field, expected, Some(value))),
        },
    }
}

/// The error for a field with an unusable value.
pub(crate) fn field_error(
    path: &Path,
    field: &str,
    expected: &str,
    got: Option<&Value>,
) -> EncoderError {
    EncoderError::Field {
        path: path.to_owned(),
        field: field.to_owned(),
        expected: expected.to_owned(),
        got: got.map_or_else(|| "nothing".to_owned(), shorten),
    }
}

/// The error for a file that is not what it should be.
pub(crate) fn file_error(path: &Path, message: impl Into<String>) -> EncoderError {
    EncoderError::File { path: path.to_owned(), message: message.into() }
}

fn shorten(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
