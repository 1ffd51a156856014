//! What evaluators leave behind beside their figures: the line of the log and the CSV file.

use super::Moment;
use crate::Error;
use crate::files::temporary_file;
use std::fs;
use std::io::Write;
use std::path::Path;

/// A number as Python prints it.
pub(super) fn number(value: f64) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:?}") }
}

/// A number with so many decimals, as Python prints it.
pub(super) fn rounded(value: f64, decimals: usize) -> String {
    if value.is_nan() { "nan".to_owned() } else { format!("{value:.decimals$}") }
}

/// ` after epoch 1.0`, ` in epoch 0.5 after 20 steps`, or nothing outside training.
pub(super) fn when(moment: Moment<'_>) -> String {
    if moment.epoch == -1.0 {
        String::new()
    } else if moment.steps == -1 {
        format!(" after epoch {}", number(moment.epoch))
    } else {
        format!(" in epoch {} after {} steps", number(moment.epoch), moment.steps)
    }
}

/// Adds a row of epoch, steps and `figures` to a CSV file, which gets `headers` first when it is new.
///
/// The whole file is written anew and renamed, so that a full disk cannot cut the row short.
pub(super) fn append_row(
    moment: Moment<'_>,
    file_name: &str,
    headers: &[String],
    figures: &[f64],
) -> Result<(), Error> {
    let Some(folder) = moment.output_path else { return Ok(()) };
    let path = folder.join(file_name);
    let failed = |source| Error::Io { path: path.clone(), source };
    fs::create_dir_all(folder).map_err(failed)?;
    let mut text = match fs::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            csv_line(&["epoch".to_owned(), "steps".to_owned()], headers)
        }
        Err(error) => return Err(failed(error)),
    };
    if text.last().is_some_and(|byte| *byte != b'\n') {
        text.extend(b"\r\n");
    }
    let epoch = if moment.epoch == -1.0 { "-1".to_owned() } else { number(moment.epoch) };
    let figures: Vec<String> = figures.iter().map(|figure| number(*figure)).collect();
    text.extend(csv_line(&[epoch, moment.steps.to_string()], &figures));
    write_and_rename(folder, &path, &text).map_err(failed)
}

/// Cells of numbers and plain words need no quotes; lines end as Python's `csv` ends them.
fn csv_line(moment: &[String], cells: &[String]) -> Vec<u8> {
    format!("{},{}\r\n", moment.join(","), cells.join(",")).into_bytes()
}

fn write_and_rename(folder: &Path, path: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut file = temporary_file(folder)?;
    file.write_all(text)?;
    file.persist(path)?;
    Ok(())
}
