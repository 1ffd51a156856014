//! Reading and writing the JSON files of a model directory, and errors about their fields.

use crate::error::EncoderError;
use rankforge_base::{FileError, write_atomically};
use serde_json::Value;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

/// Reads a file that contains a JSON object.
///
/// # Errors
/// A missing file, malformed JSON (with line and column), or a JSON value that is not an object.
pub(crate) fn read_object(path: &Path) -> Result<Value, EncoderError> {
    let value = parse(&read_bytes(path)?, path)?;
    check_object(&value, path)?;
    Ok(value)
}

/// Checks that a JSON value is an object.
///
/// # Errors
/// When it is not; the message says what it is.
pub(crate) fn check_object(value: &Value, path: &Path) -> Result<(), EncoderError> {
    match value {
        Value::Object(_) => Ok(()),
        other => Err(file_error(path, format!("expected a JSON object, got {}", kind(other)))),
    }
}

/// Reads a file that contains a JSON object; `None` when the file does not exist.
///
/// # Errors
/// The errors of [`read_object`], except that for a missing file.
pub(crate) fn read_optional_object(path: &Path) -> Result<Option<Value>, EncoderError> {
    if exists(path)? { read_object(path).map(Some) } else { Ok(None) }
}

/// Parses the content of the JSON file `path`.
///
/// # Errors
/// Malformed JSON; the message says line and column.
pub(crate) fn parse(bytes: &[u8], path: &Path) -> Result<Value, EncoderError> {
    serde_json::from_slice(bytes)
        .map_err(|error| file_error(path, format!("malformed JSON: {error}")))
}

/// Reads a whole file.
///
/// # Errors
/// When the file does not exist or cannot be read.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, EncoderError> {
    Ok(fs::read(path).map_err(FileError::io(path))?)
}

/// Whether a file or directory exists.
///
/// # Errors
/// When that cannot be determined, for instance because a parent directory is not accessible.
pub(crate) fn exists(path: &Path) -> Result<bool, EncoderError> {
    match fs::metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(false)
        }
        Err(source) => Err(FileError::io(path)(source).into()),
    }
}

/// Writes a JSON file, formatted by [`pretty`].
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), EncoderError> {
    write_bytes(path, &pretty(value))
}

/// Indented JSON with a newline at the end.
pub(crate) fn pretty(value: &Value) -> Vec<u8> {
    let mut text = serde_json::to_string_pretty(value).expect("every JSON value can be formatted");
    text.push('\n');
    text.into_bytes()
}

/// Writes a file under a temporary name and renames it.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), EncoderError> {
    Ok(write_atomically(path, bytes)?)
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

/// Whether Python takes the value of a field for true; `None` when the field is absent. For fields
/// that Python reads with `if`.
pub(crate) fn truth(object: &Value, field: &str) -> Option<bool> {
    object.get(field).map(is_true)
}

/// Whether Python takes a value for true: anything but null, false, 0 and what is empty.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// Checks that an object has no other fields than `known`, as a class of Python that takes them as
/// arguments.
///
/// # Errors
/// Another field: the class is newer and may compute something else.
pub(crate) fn check_fields(
    object: &Value,
    known: &[&str],
    path: &Path,
) -> Result<(), EncoderError> {
    let fields = object.as_object().into_iter().flatten();
    match fields.into_iter().find(|(field, _)| !known.contains(&field.as_str())) {
        None => Ok(()),
        Some((field, value)) => {
            let expected = format!("no such field, only {}", known.join(", "));
            Err(field_error(path, field, &expected, Some(value)))
        }
    }
}

/// A field with an integer from 0; `None` when absent or null.
///
/// # Errors
/// A value of another type, a negative number or a fraction.
pub(crate) fn optional_usize(
    object: &Value,
    field: &str,
    path: &Path,
) -> Result<Option<usize>, EncoderError> {
    optional(object, field, path, "a non-negative integer", |value| {
        value.as_u64().and_then(|number| usize::try_from(number).ok())
    })
}

/// The largest size that a file may give, such as a width or a number of labels. It is beyond every
/// model, and sums and products of two such sizes cannot overflow.
pub(crate) const LARGEST_SIZE: usize = 1 << 24;

/// What [`require_size`] accepts.
pub(crate) const SIZE: &str = "a positive integer of at most 2^24";

/// A required field with a size: an integer from 1 to [`LARGEST_SIZE`].
///
/// # Errors
/// A missing field, or a value that is not an integer in this range.
pub(crate) fn require_size(
    object: &Value,
    field: &str,
    path: &Path,
) -> Result<usize, EncoderError> {
    optional_usize(object, field, path)?
        .filter(|size| (1..=LARGEST_SIZE).contains(size))
        .ok_or_else(|| field_error(path, field, SIZE, object.get(field)))
}

/// The field `max_position_embeddings` of a config; `None` when absent, null or -1, which all mean
/// that it sets no limit.
///
/// # Errors
/// A value that is not an integer, or another negative one.
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

/// A required string field.
///
/// # Errors
/// A missing field, or a value of another type.
pub(crate) fn require_str<'a>(
    object: &'a Value,
    field: &str,
    path: &Path,
) -> Result<&'a str, EncoderError> {
    optional_str(object, field, path)?
        .ok_or_else(|| field_error(path, field, "a string", object.get(field)))
}

/// The value that `read` gives for a field; `None` when the field is absent or null. The error says
/// what was `expected` when `read` gives `None`.
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

/// The error for a missing field or a field with an unusable value.
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

/// The error for a file or directory whose content is not what was expected.
pub(crate) fn file_error(path: &Path, message: impl Into<String>) -> EncoderError {
    FileError::content(path, message).into()
}

/// The first characters of a value, for messages.
fn shorten(value: &Value) -> String {
    const MAX_CHARACTERS: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARACTERS) {
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
