use crate::error::DataError;
use crate::reader::{Location, RowReader};
use crate::rows::Rows;
use crate::value::Value;
use std::collections::HashMap;

/// The types of the columns of csv files, which say nothing of them: integers where all cells are,
/// else numbers where all are, else texts.
#[derive(Debug, Default)]
pub struct CellTypes(HashMap<String, CellType>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CellType {
    Integer,
    Float,
    Text,
}

/// Number of rows that are read at a time.
const CHUNK: usize = 8192;

impl CellTypes {
    /// Reads all rows of a location once; of one without csv files or that is a pipe, none.
    ///
    /// # Errors
    /// Those of reading the rows.
    pub fn of(location: &Location) -> Result<CellTypes, DataError> {
        let mut types = CellTypes::default();
        if !(location.path.is_file() || location.path.is_dir()) {
            return Ok(types);
        }
        for chunk in RowReader::open(location, CHUNK)? {
            let chunk = chunk?;
            if !chunk.columns().iter().any(|(_, values)| values.iter().any(is_untyped)) {
                break;
            }
            chunk.columns().iter().for_each(|(name, values)| types.add(name, values));
        }
        Ok(types)
    }

    fn add(&mut self, name: &str, values: &[Value]) {
        let of = |value: &Value| match value.clone().narrowed() {
            Value::Null => None,
            Value::Integer(_) => Some(CellType::Integer),
            Value::Float(_) => Some(CellType::Float),
            _ => Some(CellType::Text),
        };
        let widest = values.iter().filter_map(of).max();
        let known = self.0.get(name).copied();
        if let Some(widest) = widest.max(known) {
            self.0.insert(name.to_owned(), widest);
        }
    }

    /// The rows with values of these types; empty cells of csv files are null.
    pub fn apply(&self, rows: Rows) -> Result<Rows, DataError> {
        rows.map_columns(|(name, values)| {
            let Some(cell_type) = self.0.get(&name) else { return (name, values) };
            let typed = |value: Value| match value {
                Value::Untyped(cell) if cell.is_empty() => Value::Null,
                Value::Untyped(cell) if *cell_type == CellType::Text => Value::Text(cell),
                value => match value.narrowed() {
                    Value::Integer(number) if *cell_type == CellType::Float => {
                        Value::Float(number as f64)
                    }
                    value => value,
                },
            };
            (name, values.into_iter().map(typed).collect())
        })
    }
}

fn is_untyped(value: &Value) -> bool {
    matches!(value, Value::Untyped(_))
}
