use crate::error::DataError;
use crate::rows::Rows;
use crate::value::Value;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The rows that were met, to leave out those that occur again: 16 bytes for each.
#[derive(Debug, Default)]
pub struct Duplicates {
    /// The columns that are compared; empty for all.
    columns: Vec<String>,
    seen: HashSet<[u64; 2]>,
}

impl Duplicates {
    /// Rows are the same if these columns are; without any, if all are.
    pub fn new(columns: Vec<String>) -> Duplicates {
        Duplicates { columns, seen: HashSet::new() }
    }

    /// The rows, in order, that are not the same as an earlier one, of these or of those before.
    ///
    /// # Errors
    /// A column that does not exist.
    pub fn first_rows(&mut self, rows: &Rows) -> Result<Vec<usize>, DataError> {
        let all: Vec<&[Value]> = match self.columns.is_empty() {
            true => rows.columns().iter().map(|(_, values)| &values[..]).collect(),
            false => self.columns.iter().map(|name| rows.column(name)).collect::<Result<_, _>>()?,
        };
        let fingerprint = |row: usize| {
            [0_u8, 1].map(|key| {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                all.iter().for_each(|values| add(&values[row], &mut hasher));
                hasher.finish()
            })
        };
        Ok((0..rows.len()).filter(|row| self.seen.insert(fingerprint(*row))).collect())
    }
}

/// Values of different types are different.
fn add(value: &Value, hasher: &mut DefaultHasher) {
    std::mem::discriminant(value).hash(hasher);
    match value {
        Value::Null => {}
        Value::Text(text) | Value::Untyped(text) => text.hash(hasher),
        Value::Integer(number) => number.hash(hasher),
        Value::Float(number) => number.to_bits().hash(hasher),
        Value::Boolean(boolean) => boolean.hash(hasher),
        Value::List(values) => {
            values.len().hash(hasher);
            values.iter().for_each(|value| add(value, hasher));
        }
        Value::Unreadable(name) => name.hash(hasher),
    }
}
