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

impl Value {
    /// What kind of value this is, in a word for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Text(_) => "text",
            Value::Integer(_) => "integer",
            Value::Float(_) => "float",
            Value::Boolean(_) => "boolean",
            Value::List(_) => "list",
        }
    }

    /// The kind and a short look at the value: `integer 7`, `text "What is..."`.
    pub(crate) fn shown(&self) -> String {
        match self {
            Value::Null => "null".to_owned(),
            Value::Text(text) => format!("text {}", quoted(text)),
            Value::Integer(number) => format!("integer {number}"),
            Value::Float(number) => format!("float {number}"),
            Value::Boolean(truth) => format!("boolean {truth}"),
            Value::List(values) => format!("a list of {}", values.len()),
        }
    }
}

/// The beginning of a text in quotes, for messages.
pub(crate) fn quoted(text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push_str("...");
    }
    format!("{start:?}")
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
        for (index, (name, values)) in columns.iter().enumerate() {
            if columns[..index].iter().any(|(other, _)| other == name) {
                return Err(DataError::column(name, "there are two columns of this name"));
            }
            let (first, expected) = (&columns[0].0, columns[0].1.len());
            if values.len() != expected {
                return Err(DataError::column(
                    name,
                    format!(
                        "expected {expected} rows as in column `{first}`, got {}",
                        values.len()
                    ),
                ));
            }
        }
        Ok(Rows { columns })
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
        self.columns.iter().find(|(there, _)| there == name).map_or_else(
            || Err(DataError::missing_column(name, "in the data", &self.column_names())),
            |(_, values)| Ok(values.as_slice()),
        )
    }

    /// The texts of a column.
    ///
    /// # Errors
    /// No such column, or a row that is no text, with its number from 1.
    pub fn texts(&self, name: &str) -> Result<Vec<&str>, DataError> {
        self.convert(name, "text", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// The numbers of a column; truth values count as 0 and 1.
    ///
    /// # Errors
    /// No such column, or a row that is no finite number, with its number from 1.
    pub fn numbers(&self, name: &str) -> Result<Vec<f64>, DataError> {
        self.convert(name, "a finite number", |value| match value {
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) if number.is_finite() => Some(*number),
            Value::Boolean(truth) => Some(f64::from(u8::from(*truth))),
            _ => None,
        })
    }

    /// The rows of these numbers (from 0), in this order.
    ///
    /// # Panics
    /// When a number is not below [`Rows::len`].
    pub fn select(&self, rows: &[usize]) -> Rows {
        let pick = |values: &Vec<Value>| rows.iter().map(|&row| values[row].clone()).collect();
        Rows {
            columns: self
                .columns
                .iter()
                .map(|(name, values)| (name.clone(), pick(values)))
                .collect(),
        }
    }

    /// These columns only, in this order.
    ///
    /// # Errors
    /// No such column, or one named twice.
    pub fn select_columns(&self, names: &[&str]) -> Result<Rows, DataError> {
        let pick = |&name: &&str| Ok((name.to_owned(), self.column(name)?.to_vec()));
        Rows::new(names.iter().map(pick).collect::<Result<_, DataError>>()?)
    }

    /// Adds the rows of another table of the same columns; a table without columns becomes the other.
    ///
    /// # Errors
    /// Different columns.
    pub fn append(&mut self, other: Rows) -> Result<(), DataError> {
        if self.columns.is_empty() {
            *self = other;
            return Ok(());
        }
        let (ours, theirs) = (self.column_names(), other.column_names());
        if ours != theirs {
            let differing = theirs
                .iter()
                .find(|name| !ours.contains(name))
                .or(ours.iter().find(|name| !theirs.contains(name)));
            return Err(DataError::column(
                differing.unwrap_or(&ours[0]),
                format!(
                    "expected rows of {}, got rows of {}",
                    crate::error::list(ours.iter().copied()),
                    crate::error::list(theirs.iter().copied())
                ),
            ));
        }
        for ((_, values), (_, more)) in self.columns.iter_mut().zip(other.columns) {
            values.extend(more);
        }
        Ok(())
    }

    /// All columns, in order.
    pub fn columns(&self) -> &[(String, Vec<Value>)] {
        &self.columns
    }

    /// Keeps the first rows only.
    pub(crate) fn truncate(&mut self, rows: usize) {
        for (_, values) in &mut self.columns {
            values.truncate(rows);
        }
    }

    fn convert<'a, T>(
        &'a self,
        name: &str,
        expected: &str,
        as_expected: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Vec<T>, DataError> {
        let checked = |(row, value): (usize, &'a Value)| {
            as_expected(value).ok_or_else(|| {
                DataError::column(
                    name,
                    format!("row {}: expected {expected}, got {}", row + 1, value.shown()),
                )
            })
        };
        self.column(name)?.iter().enumerate().map(checked).collect()
    }
}
