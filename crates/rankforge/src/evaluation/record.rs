//! The log line and the CSV file of an evaluation.

use crate::error::Error;
use crate::evaluation::evaluator::EvaluationContext;
use rankforge_base::{FileError, write_atomically};
use std::fs;

/// A number as Python prints it.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

/// A number with `decimals` decimals, as Python prints it.
pub(super) fn rounded(value: f64, decimals: usize) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:.decimals$}") }
}

/// ` after epoch 1.0`, ` in epoch 0.5 after 20 steps`, or nothing outside training.
pub(super) fn when(context: &EvaluationContext<'_>) -> String {
    if context.epoch == -1.0 {
        String::new()
    } else if context.steps == -1 {
        format!(" after epoch {}", number(context.epoch))
    } else {
        format!(" in epoch {} after {} steps", number(context.epoch), context.steps)
    }
}

/// Adds a row to a CSV file: epoch, steps and `metrics`. A new file begins with `headers`.
///
/// The whole file is written under a temporary name and renamed, so that a full disk cannot leave
/// part of a row.
pub(super) fn append_row(
    context: &EvaluationContext<'_>,
    file_name: &str,
    headers: &[String],
    metrics: &[f64],
) -> Result<(), Error> {
    let Some(folder) = context.output_path else { return Ok(()) };
    let path = folder.join(file_name);
    let failed = FileError::io(&path);
    fs::create_dir_all(folder).map_err(failed)?;
    let mut text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            csv_line(&["epoch".to_owned(), "steps".to_owned()], headers)
        }
        Err(error) => return Err(failed(error).into()),
    };
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.extend(b"\r\n");
    }
    let epoch = if context.epoch == -1.0 { "-1".to_owned() } else { number(context.epoch) };
    let metrics: Vec<String> = metrics.iter().map(|metric| number(*metric)).collect();
    text.extend(csv_line(&[epoch, context.steps.to_string()], &metrics));
    Ok(write_atomically(&path, &text)?)
}

/// One line of the file. No cell needs quotes; lines end as those of Python's `csv`.
fn csv_line(start: &[String], cells: &[String]) -> Vec<u8> {
    format!("{},{}\r\n", start.join(","), cells.join(",")).into_bytes()
}
