//! Rows of JSON files. Only the chosen keys become values; what stands at the others is skipped.

use crate::chunk::{BlockStart, Chunk};
use crate::error::DataError;
use crate::json_objects::Objects;
use crate::value::{LARGE_INTEGER, Value};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;
use std::path::Path;

/// Maximum number of columns that the first object of a file lacks: each takes memory in every row.
const MOST_LATER_COLUMNS: usize = 100;

/// Reads the rows of a JSON file.
pub(crate) struct JsonFile {
    objects: Objects,
    /// Line of the first object, which is in the buffer of `objects` until it is returned.
    first: Option<u64>,
    /// Where it starts, in a file of lines.
    first_place: Option<(u64, u64)>,
    /// Keys of the first object.
    first_keys: Vec<String>,
    columns: Columns,
}

impl JsonFile {
    /// Opens a file. `None` as `chosen` chooses all keys.
    pub(crate) fn open(path: &Path, chosen: Option<&[String]>) -> Result<JsonFile, DataError> {
        let mut objects = Objects::open(path)?;
        let first_place = objects.place();
        let first = objects.advance()?;
        let mut first_keys = Vec::new();
        if let Some(line) = first {
            objects.parse(line, KeysSeed(&mut first_keys))?;
            if first_keys.is_empty() && chosen.is_none() {
                let message = "expected an object with keys, got an empty object";
                return Err(DataError::line(path, line, message));
            }
        }
        let names = chosen.unwrap_or(&first_keys).to_vec();
        let most = chosen.is_none().then_some(names.len() + MOST_LATER_COLUMNS);
        let columns = Columns { names, most, values: Vec::new(), rows: 0 };
        Ok(JsonFile { objects, first, first_place, first_keys, columns })
    }

    /// Opens a file of lines in its middle, to read these columns: at a byte where a line starts,
    /// and the number of that line.
    pub(crate) fn open_at(
        path: &Path,
        byte: u64,
        line: u64,
        columns: &[String],
    ) -> Result<JsonFile, DataError> {
        let objects = Objects::open_at(path, byte, line)?;
        let names = columns.to_vec();
        let columns = Columns { names, most: None, values: Vec::new(), rows: 0 };
        let (first, first_place, first_keys) = (None, None, Vec::new());
        Ok(JsonFile { objects, first, first_place, first_keys, columns })
    }

    /// Where the next row starts; `None` in a list of objects.
    pub(crate) fn start(&self) -> Option<BlockStart> {
        let place = if self.first.is_some() { self.first_place } else { self.objects.place() };
        place.map(|(byte, line)| BlockStart::Line { byte, line })
    }

    /// Whether there is no object.
    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Keys of the first object.
    pub(crate) fn names(&self) -> &[String] {
        &self.first_keys
    }

    /// At most `max_rows` further rows; `None` at the end of the file. A key that an object lacks
    /// is null.
    pub(crate) fn next_rows(&mut self, max_rows: usize) -> Result<Option<Chunk>, DataError> {
        let columns = &mut self.columns;
        columns.rows = 0;
        columns.values = vec![Vec::new(); columns.names.len()];
        while columns.rows < max_rows {
            let first = self.first.take().map(Some);
            let Some(line) = first.map_or_else(|| self.objects.advance(), Ok)? else { break };
            self.objects.parse(line, RowSeed(columns))?;
        }
        let values = std::mem::take(&mut columns.values);
        let named = columns.names.iter().cloned().zip(values).collect();
        Ok((columns.rows > 0).then_some(Chunk { rows: columns.rows, columns: named }))
    }
}

/// Removes from `missing` the keys of the first `max_rows` objects of a file, and collects all keys
/// in `known`; stops when nothing is missing. Returns the number of objects that were read.
pub(crate) fn find_keys(
    path: &Path,
    max_rows: usize,
    missing: &mut Vec<String>,
    known: &mut Vec<String>,
) -> Result<usize, DataError> {
    let mut objects = Objects::open(path)?;
    let (mut keys, mut rows) = (Vec::new(), 0);
    while rows < max_rows && !missing.is_empty() {
        let Some(line) = objects.advance()? else { break };
        objects.parse(line, KeysSeed(&mut keys))?;
        for key in keys.drain(..) {
            missing.retain(|name| *name != key);
            if known.len() < MOST_LATER_COLUMNS && !known.contains(&key) {
                known.push(key);
            }
        }
        rows += 1;
    }
    Ok(rows)
}

/// The columns of a chunk that is being read.
struct Columns {
    names: Vec<String>,
    /// When any key is a column: the maximum number of columns.
    most: Option<usize>,
    values: Vec<Vec<Value>>,
    /// Number of rows that are complete.
    rows: usize,
}

impl Columns {
    /// The index of the column of a key; `None` if it is not one. `guess` is where it may be: most
    /// objects have the same keys in the same order.
    fn index_of(&self, key: &str, guess: usize) -> Option<usize> {
        if self.names.get(guess).is_some_and(|name| name == key) {
            return Some(guess);
        }
        self.names.iter().position(|name| name == key)
    }

    /// Sets the value of the row that is being read. A key that an object repeats has its last
    /// value, as in Python.
    fn set(&mut self, index: usize, value: Value) {
        let values = &mut self.values[index];
        values.resize(self.rows, Value::Null);
        values.push(value);
    }

    fn end_row(&mut self) {
        self.rows += 1;
        self.values.iter_mut().for_each(|values| values.resize(self.rows, Value::Null));
    }
}

/// Reads an object into the next row of the columns.
struct RowSeed<'c>(&'c mut Columns);

impl<'de> DeserializeSeed<'de> for RowSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for RowSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let columns = self.0;
        let mut guess = 0;
        while let Some(key) = map.next_key_seed(KeySeed { columns, guess })? {
            let index = match (key, columns.most) {
                (Key::Column(index), _) => index,
                (Key::Other(_), None) => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
                (Key::Other(name), Some(most)) if columns.names.len() < most => {
                    columns.names.push(name);
                    columns.values.push(Vec::new());
                    columns.names.len() - 1
                }
                (Key::Other(name), Some(_)) => {
                    return Err(A::Error::custom(format!(
                        "key `{name}` is one of more than {MOST_LATER_COLUMNS} that the first \
                         object lacks; select the columns to read"
                    )));
                }
            };
            columns.set(index, map.next_value_seed(CellSeed)?);
            guess = index + 1;
        }
        columns.end_row();
        Ok(())
    }
}

/// What a key of an object is.
enum Key {
    /// The column of this index.
    Column(usize),
    /// Not a column.
    Other(String),
}

/// Looks a key up among the columns.
struct KeySeed<'c> {
    columns: &'c Columns,
    guess: usize,
}

impl<'de> DeserializeSeed<'de> for KeySeed<'_> {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match self.columns.index_of(key, self.guess) {
            Some(index) => Key::Column(index),
            // The name is needed only where it becomes a column.
            None if self.columns.most.is_none() => Key::Other(String::new()),
            None => Key::Other(key.to_owned()),
        })
    }
}

/// Collects the keys of an object.
struct KeysSeed<'k>(&'k mut Vec<String>);

impl<'de> DeserializeSeed<'de> for KeysSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for KeysSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if !self.0.contains(&key) {
                self.0.push(key);
            }
        }
        Ok(())
    }
}

/// Reads any JSON value as a cell.
struct CellSeed;

impl<'de> DeserializeSeed<'de> for CellSeed {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for CellSeed {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Value, E> {
        Ok(Value::Boolean(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or(Value::Unreadable(LARGE_INTEGER), Value::Integer))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(CellSeed)? {
            values.push(value);
        }
        Ok(Value::list(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Unreadable("object"))
    }
}
