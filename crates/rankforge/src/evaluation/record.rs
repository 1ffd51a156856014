//! The log lines, the settings and the CSV file of an evaluation.

use crate::error::Error;
use crate::evaluation::evaluator::EvaluationContext;
use crate::evaluation::statistics::is_constant;
use rankforge_base::Reporter;
use rankforge_base::{FileError, write_atomically};
use serde_json::Value;
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

/// [`when`], and ` (truncated to 256)` where there is a dimension.
pub(super) fn when_truncated(context: &EvaluationContext<'_>, dimension: Option<usize>) -> String {
    let truncated =
        dimension.map_or(String::new(), |dimension| format!(" (truncated to {dimension})"));
    when(context) + &truncated
}

/// Numbers of queries and of their texts: their minimum, mean and maximum.
pub(super) fn counts(positives: &[usize], negatives: &[usize]) -> String {
    let queries = positives.len();
    let (positives, negatives) = (spread(positives), spread(negatives));
    format!("Queries: {queries}\tPositives: {positives}\tNegatives: {negatives}")
}

/// `Min 1.0, Mean 2.0, Max 3.0`.
fn spread(counts: &[usize]) -> String {
    let least = counts.iter().min().copied().unwrap_or(0) as f64;
    let most = counts.iter().max().copied().unwrap_or(0) as f64;
    let mean = counts.iter().sum::<usize>() as f64 / counts.len().max(1) as f64;
    format!("Min {least:.1}, Mean {mean:.1}, Max {most:.1}")
}

/// Logs MAP, MRR and NDCG, with those of the first stage before them where there are some.
pub(super) fn before_and_after(
    k: usize,
    before: Option<&[f64]>,
    after: &[f64],
    reporter: &dyn Reporter,
) {
    let blank = " ".repeat(k.to_string().len());
    if before.is_some() {
        reporter.message(&format!("{blank}       Base  -> Reranked"));
    }
    let labels = [format!("MAP:{blank}   "), format!("MRR@{k}:  "), format!("NDCG@{k}: ")];
    for (row, (label, after)) in labels.iter().zip(after).enumerate() {
        let before =
            before.map_or(String::new(), |before| format!("{:.2} -> ", before[row] * 100.0));
        reporter.message(&format!("{label}{before}{:.2}", after * 100.0));
    }
}

/// Warns where values are all equal, so that correlations with them are not defined.
pub(super) fn warn_of_constants(
    evaluator: &str,
    what: &str,
    values: &[f64],
    reporter: &dyn Reporter,
) {
    if is_constant(values) {
        reporter.warning(&format!(
            "{evaluator}: all {} {what} are {}, so the correlations are not defined (nan)",
            values.len(),
            number(values[0])
        ));
    }
}

/// The settings that have a value, for the model card.
pub(super) fn config<const N: usize>(settings: [(&str, Option<Value>); N]) -> Value {
    let set = settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(set.collect())
}

/// `STEM_PART_PART_results.csv`, without the parts that are empty.
pub(super) fn csv_file(stem: &str, parts: &[&str]) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    let parts: String = parts.map(|part| format!("_{part}")).collect();
    format!("{stem}{parts}_results.csv")
}

/// `STEM_NAME_results_@K.csv`, without the name where it is empty.
pub(super) fn csv_file_at(stem: &str, name: &str, k: usize) -> String {
    let separator = if name.is_empty() { "" } else { "_" };
    format!("{stem}{separator}{name}_results_@{k}.csv")
}

/// Adds a row to a CSV file: epoch, steps and `metrics`. A new file begins with `headers`.
///
/// A file that begins with other headers gets the row too, and a warning says so.
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
    let header = csv_line(&["epoch".to_owned(), "steps".to_owned()], headers);
    let mut text = match fs::read(&path) {
        Ok(text) => {
            let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
            if first.trim_ascii() != header.trim_ascii() {
                context.reporter.warning(&format!(
                    "{}: the columns of the new row are other ones: {}",
                    path.display(),
                    headers.join(", ")
                ));
            }
            text
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => header,
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
