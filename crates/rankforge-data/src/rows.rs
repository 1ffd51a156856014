use crate::error::DataError;
use crate::value::Value;
use rankforge_base::quoted_list;
use std::path::Path;
use std::sync::Arc;

/// A table in memory: named columns of equal length, in a fixed order.
///
/// Tables are equal when their columns are, wherever they were read.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    columns: Vec<(String, Vec<Value>)>,
    /// The file or directory that the rows were read from, for messages.
    source: Option<Arc<Path>>,
}

impl PartialEq for Rows {
    fn eq(&self, other: &Rows) -> bool {
        self.columns == other.columns
    }
}

impl Rows {
    /// A table of pairs (name, values of the column).
    ///
    /// # Errors
    /// Columns of different lengths, or two columns of the same name.
    pub fn new(columns: Vec<(String, Vec<Value>)>) -> Result<Rows, DataError> {
        for (index, (name, values)) in columns.iter().enumerate() {
            if columns[..index].iter().any(|(other, _)| other == name) {
                return Err(DataError::column(name, "two columns have this name"));
            }
            let (first, first_values) = &columns[0];
            let (expected, got) = (first_values.len(), values.len());
            if got != expected {
                let message =
                    format!("expected {expected} rows, as in column `{first}`, got {got}");
                return Err(DataError::column(name, message));
            }
        }
        Ok(Rows { columns, source: None })
    }

    /// The same rows, as read from a file or directory.
    pub(crate) fn read_from(self, source: &Arc<Path>) -> Rows {
        Rows { source: Some(source.clone()), ..self }
    }

    /// The same rows, read from the same place, with other columns made of theirs.
    ///
    /// # Errors
    /// Two columns of one name, or of different lengths.
    pub(crate) fn map_columns(
        self,
        column: impl FnMut((String, Vec<Value>)) -> (String, Vec<Value>),
    ) -> Result<Rows, DataError> {
        let rows = Rows::new(self.columns.into_iter().map(column).collect())?;
        Ok(Rows { source: self.source, ..rows })
    }

    /// The file or directory that the rows were read from, where they were.
    pub fn source(&self) -> Option<&Path> {
        self.source.as_deref()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.columns.first().map_or(0, |(_, values)| values.len())
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Column names, in order.
    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The values of a column, one per row.
    ///
    /// # Errors
    /// When no column has this name; the message lists the columns and suggests the nearest name.
    pub fn column(&self, name: &str) -> Result<&[Value], DataError> {
        match self.columns.iter().find(|(other, _)| other == name) {
            Some((_, values)) => Ok(values),
            None => Err(DataError::missing_column(name, "the data", &self.column_names())),
        }
    }

    /// The values of a column of texts, one per row.
    ///
    /// # Errors
    /// When no column has this name, or when a value is not text; the message counts rows from 1.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, DataError> {
        self.converted(name, "text", Value::as_text)
    }

    /// [`Rows::texts`], owned.
    ///
    /// # Errors
    /// As [`Rows::texts`].
    pub fn owned_texts(&self, name: &str) -> Result<Vec<String>, DataError> {
        Ok(self.texts(name)?.into_iter().map(str::to_owned).collect())
    }

    /// The values of a column of numbers, one per row. False and true are 0 and 1.
    ///
    /// # Errors
    /// When no column has this name, or when a value is not a finite number; the message counts
    /// rows from 1.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, DataError> {
        self.converted(name, "a finite number", Value::as_number)
    }

    /// A table of the rows at these indices, in this order; an index may occur more than once.
    ///
    /// # Panics
    /// When an index is not less than [`Rows::len`].
    pub fn select(&self, rows: &[usize]) -> Rows {
        let pick = |values: &Vec<Value>| rows.iter().map(|&row| values[row].clone()).collect();
        Rows {
            columns: self
                .columns
                .iter()
                .map(|(name, values)| (name.clone(), pick(values)))
                .collect(),
            source: self.source.clone(),
        }
    }

    /// A table of the columns of these names, in this order.
    ///
    /// # Errors
    /// When a column does not exist, or is named twice.
    pub fn select_columns(&self, names: &[&str]) -> Result<Rows, DataError> {
        let pick = |&name: &&str| Ok((name.to_owned(), self.column(name)?.to_vec()));
        let rows = Rows::new(names.iter().map(pick).collect::<Result<_, DataError>>()?)?;
        Ok(Rows { source: self.source.clone(), ..rows })
    }

    /// Appends the rows of a table with the same columns in the same order. A table without columns
    /// becomes `other`.
    ///
    /// # Errors
    /// When the columns differ.
    pub fn append(&mut self, other: Rows) -> Result<(), DataError> {
        if self.columns.is_empty() {
            *self = other;
            return Ok(());
        }
        let (expected, got) = (self.column_names(), other.column_names());
        if expected != got {
            let differing = got
                .iter()
                .find(|name| !expected.contains(name))
                .or(expected.iter().find(|name| !got.contains(name)));
            let message = format!(
                "expected rows with the columns {}, got rows with {}",
                quoted_list(expected.iter().copied()),
                quoted_list(got.iter().copied())
            );
            return Err(DataError::column(differing.unwrap_or(&expected[0]), message));
        }
        if self.source != other.source {
            self.source = None;
        }
        for ((_, values), (_, more)) in self.columns.iter_mut().zip(other.columns) {
            values.extend(more);
        }
        Ok(())
    }

    /// Appends the next chunk of a [`RowReader`](crate::RowReader), which has the columns of the
    /// chunks before it and maybe others; these are null in the earlier rows.
    ///
    /// # Panics
    /// When the chunk lacks a column of the earlier ones.
    pub fn append_chunk(&mut self, chunk: Rows) {
        if self.columns.is_empty() {
            self.source.clone_from(&chunk.source);
        }
        let rows = self.len();
        let names = self.column_names();
        assert!(chunk.column_names().starts_with(&names), "the chunk is not of the same reader");
        for (index, (name, values)) in chunk.columns.into_iter().enumerate() {
            match self.columns.get_mut(index) {
                Some((_, earlier)) => earlier.extend(values),
                None => {
                    let mut all = vec![Value::Null; rows];
                    all.extend(values);
                    self.columns.push((name, all));
                }
            }
        }
    }

    /// All columns as pairs (name, values), in order.
    pub fn into_columns(self) -> Vec<(String, Vec<Value>)> {
        self.columns
    }

    /// All columns as pairs (name, values), in order.
    pub fn columns(&self) -> &[(String, Vec<Value>)] {
        &self.columns
    }

    /// The converted values of a column; `convert` is `None` for a value that is not `expected`.
    fn converted<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        convert: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>, DataError> {
        let converted = |(row, value): (usize, &'a Value)| {
            convert(value).ok_or_else(|| {
                let (column, expected) = (name.to_owned(), expected.to_owned());
                let path = self.source().map(Path::to_owned);
                DataError::Cell { path, column, row: row + 1, expected, got: value.describe() }
            })
        };
        self.column(name)?.iter().enumerate().map(converted).collect()
    }
}
