//! Checks that every loss makes of a batch before it arranges it.

use super::{Cell, Examples, Labels};
use crate::Error;

/// The texts of every column; a loss that reads texts refuses lists of them.
pub(super) fn text_columns<'a>(
    loss: &str,
    examples: &'a Examples,
) -> Result<Vec<Vec<&'a str>>, Error> {
    let mut columns = Vec::with_capacity(examples.columns.len());
    for (number, column) in examples.columns.iter().enumerate() {
        let mut texts = Vec::with_capacity(column.len());
        for (row, cell) in column.iter().enumerate() {
            match cell {
                Cell::Text(text) => texts.push(text.as_str()),
                Cell::Texts(list) => {
                    return Err(Error::Input(format!(
                        "{loss} expects one text in each cell, got a list of {} in row {row} of text column {}",
                        list.len(),
                        number + 1
                    )));
                }
            }
        }
        columns.push(texts);
    }
    let rows = columns.first().map_or(0, Vec::len);
    if let Some(column) = columns.iter().find(|column| column.len() != rows) {
        return Err(Error::Input(format!(
            "{loss} expects columns of equal length, got {rows} and {} rows",
            column.len()
        )));
    }
    if rows == 0 {
        return Err(Error::Input(format!("{loss} expects at least one row, got an empty batch")));
    }
    Ok(columns)
}

/// Refuses a label column: the ranking losses would silently take pairs labelled 0 for positives.
pub(super) fn no_labels(loss: &str, examples: &Examples) -> Result<(), Error> {
    match examples.labels {
        Labels::None => Ok(()),
        Labels::Scalars(_) | Labels::Lists(_) => Err(Error::Input(format!(
            "{loss} takes no labels, but the data have a label column (label, labels, score or scores): \
             keep only the text columns"
        ))),
    }
}

/// Refuses models of several labels.
pub(super) fn one_output(loss: &str, output_columns: usize) -> Result<(), Error> {
    if output_columns == 1 {
        return Ok(());
    }
    Err(Error::Input(format!(
        "{loss} expects a model with 1 output label, but got a model with {output_columns} output labels"
    )))
}
