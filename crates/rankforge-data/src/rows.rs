use crate::DataError;

/// One cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Missing.
    Null,
    /// Text.
    Text(String),
    /// Whole number.
    Integer(i64),
    /// Number.
    Float(f64),
    /// Truth value.
    Boolean(bool),
    /// Several of these.
    List(Vec<Value>),
}

/// A table in memory: named columns of equal length, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    columns: Vec<(String, Vec<Value>)>,
}

impl Rows {
    /// From columns.
    ///
    /// # Errors
    /// Columns of different lengths, or two of one name.
    pub fn new(columns: Vec<(String, Vec<Value>)>) -> Result<Rows, DataError> {
        unimplemented!()
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

    /// The values of a column.
    ///
    /// # Errors
    /// No such column; the message lists those there are and suggests the nearest.
    pub fn column(&self, name: &str) -> Result<&[Value], DataError> {
        unimplemented!()
    }

    /// The texts of a column.
    ///
    /// # Errors
    /// No such column, or a row that is no text, with its number.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, DataError> {
        unimplemented!()
    }

    /// The numbers of a column.
    ///
    /// # Errors
    /// No such column, or a row that is no finite number, with its number.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, DataError> {
        unimplemented!()
    }

    /// The rows of these numbers, in this order.
    pub fn select(&self, rows: &[usize]) -> Rows {
        unimplemented!()
    }

    /// These columns only, in this order.
    ///
    /// # Errors
    /// No such column.
    pub fn select_columns(&self, names: &[&str]) -> Result<Rows, DataError> {
        unimplemented!()
    }

    /// Adds the rows of another table of the same columns.
    ///
    /// # Errors
    /// Different columns.
    pub fn append(&mut self, other: Rows) -> Result<(), DataError> {
        unimplemented!()
    }

    /// All columns, in order.
    pub fn columns(&self) -> &[(String, Vec<Value>)] {
        &self.columns
    }
}
