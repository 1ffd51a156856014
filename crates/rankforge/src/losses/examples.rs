use crate::error::{Error, LABEL_COLUMN};
use rankforge_encoder::{Outputs, Prompt, Text};
use std::borrow::Cow;

/// Placeholder for the label column in the errors of a loss. The trainer replaces it by the name of
/// the column.
pub const LABEL_ROLE: &str = "label";

/// A batch of training rows: the text columns in data set order, and the labels.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Examples {
    /// The text columns.
    pub columns: Vec<Column>,
    /// The labels of the rows, if the data set has a label column.
    pub labels: Labels,
}

impl Examples {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.columns.first().map_or(0, |column| column.cells.len())
    }

    /// The texts of every column, with their prompts, for a loss that reads one text from each
    /// cell. `loss` is the name of the loss in errors.
    ///
    /// # Errors
    /// No rows, columns of different lengths, or a cell with a list of texts.
    pub fn texts(&self, loss: &str) -> Result<Vec<Vec<Text<'_>>>, Error> {
        let rows = self.rows();
        if rows == 0 {
            return Err(Error::rows(loss, "at least one row", "an empty batch"));
        }
        self.columns.iter().map(|column| column.texts(loss, rows)).collect()
    }

    /// One label for each row; a list of one number counts as that number. `loss` is the name of
    /// the loss in errors.
    ///
    /// # Errors
    /// No label column, a list that does not have exactly one number, or a number of labels that
    /// differs from the number of rows.
    pub fn scalar_labels(&self, loss: &str) -> Result<Vec<f32>, Error> {
        let numbers: Vec<f32> = match &self.labels {
            Labels::None => {
                return Err(Error::rows(loss, LABEL_COLUMN, "none"));
            }
            Labels::Scalars(numbers) => numbers.clone(),
            Labels::Lists(lists) => {
                if let Some(row) = lists.iter().position(|list| list.len() != 1) {
                    let got = lists[row].len();
                    return Err(Error::cell(loss, row, LABEL_ROLE, "one label for each row", got));
                }
                lists.iter().map(|list| list[0]).collect()
            }
        };
        if numbers.len() != self.rows() {
            return Err(Error::rows(loss, format!("{} labels", self.rows()), numbers.len()));
        }
        Ok(numbers)
    }
}

/// A text column of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Name in the data set, for error messages. Losses use the order of the columns, not the
    /// names.
    pub name: String,
    /// Prompt prepended to each text.
    pub prompt: Option<Prompt>,
    /// One cell for each row.
    pub cells: Vec<Cell>,
}

impl Column {
    /// One text for each row, with the prompt of the column.
    ///
    /// # Errors
    /// Another number of rows, or a cell with a list of texts.
    pub(super) fn texts(&self, loss: &str, rows: usize) -> Result<Vec<Text<'_>>, Error> {
        self.cells(loss, rows)?
            .map(|(row, cell)| match cell {
                Cell::Text(text) => Ok(Text { text, prompt: self.prompt.as_ref() }),
                Cell::Texts(list) => {
                    let got = format!("a list of {}", list.len());
                    Err(Error::cell(loss, row, &self.name, "one text in each cell", got))
                }
            })
            .collect()
    }

    /// A list of texts for each row, with the prompt of the column.
    ///
    /// # Errors
    /// Another number of rows, or a cell with a single text.
    pub(super) fn lists(&self, loss: &str, rows: usize) -> Result<Vec<Vec<Text<'_>>>, Error> {
        let text = |text| Text { text, prompt: self.prompt.as_ref() };
        self.cells(loss, rows)?
            .map(|(row, cell)| match cell {
                Cell::Texts(list) => Ok(list.iter().map(String::as_str).map(text).collect()),
                Cell::Text(_) => {
                    let expected = "a list of documents in each cell";
                    Err(Error::cell(loss, row, &self.name, expected, "a single text"))
                }
            })
            .collect()
    }

    /// The cells with the indices of their rows.
    fn cells(
        &self,
        loss: &str,
        rows: usize,
    ) -> Result<impl Iterator<Item = (usize, &Cell)>, Error> {
        if self.cells.len() != rows {
            let got = format!("{rows} and {} rows", self.cells.len());
            return Err(Error::rows(loss, "columns of equal length", got));
        }
        Ok(self.cells.iter().enumerate())
    }
}

/// One cell of a text column.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A text.
    Text(String),
    /// A list of texts: the documents of listwise data.
    Texts(Vec<String>),
}

/// The labels of a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Labels {
    /// The data set has no label column.
    #[default]
    None,
    /// A number for each row.
    Scalars(Vec<f32>),
    /// A list of numbers for each row.
    Lists(Vec<Vec<f32>>),
}

/// What a loss compares the model outputs with, in the order of its plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Targets {
    /// No targets: the order of the sequences determines which ones are positives.
    #[default]
    None,
    /// A number for each row of the batch.
    Scalars(Vec<f32>),
    /// A list of numbers for each row of the batch; the lengths may differ.
    Lists(Vec<Vec<f32>>),
    /// A matrix: scores of a teacher, embeddings of a guide.
    Matrix(Outputs),
    /// Of the two texts of each row, 1 if they have the same tokens and 0 otherwise. The trainer
    /// puts [`Targets::Scalars`] in its place when it has the tokens.
    SameTokens,
}

impl Targets {
    /// The targets of embeddings that are cut from `width` to `dimensions`: rows of `width` numbers
    /// are embeddings too, and keep their leading numbers.
    pub(super) fn leading(&self, width: usize, dimensions: usize) -> Cow<'_, Targets> {
        match self {
            // One embedding, or those of all text columns, one after the other.
            Targets::Lists(lists) if lists.iter().all(|list| list.len().is_multiple_of(width)) => {
                let parts = |list: &Vec<f32>| -> Vec<f32> {
                    list.chunks(width).flat_map(|part| &part[..dimensions]).copied().collect()
                };
                Cow::Owned(Targets::Lists(lists.iter().map(parts).collect()))
            }
            Targets::Matrix(matrix) if matrix.columns == width => {
                let rows = 0..matrix.rows;
                let values = rows.flat_map(|row| &matrix.row(row)[..dimensions]).copied();
                let values = values.collect();
                let cut = Outputs { rows: matrix.rows, columns: dimensions, values };
                Cow::Owned(Targets::Matrix(cut))
            }
            _ => Cow::Borrowed(self),
        }
    }
}
