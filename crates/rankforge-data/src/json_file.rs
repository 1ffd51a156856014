//! JSON files: one object per line, or one list of objects. Objects are read one at a time.

use crate::error::DataError;
use crate::rows::{Rows, Value, quoted};
use crate::selection::Selection;
use rankforge_base::quoted_list;
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// Iterator over the objects of a file. Ends after the first error.
pub(crate) struct Objects {
    path: PathBuf,
    input: BufReader<File>,
    /// Number of the next line, from 1.
    line: u64,
    state: ReadState,
    /// Text of the current object.
    buffer: Vec<u8>,
}

/// An object and the line that it starts on, from 1.
type Line = (u64, Map<String, Json>);

#[derive(Clone, Copy, PartialEq)]
enum ReadState {
    /// One object per line.
    Lines,
    /// In a list, before its first object.
    ListStart,
    /// In a list, after an object.
    List,
    /// Nothing left to read, or an error.
    End,
}

impl Objects {
    pub(crate) fn open(path: &Path) -> Result<Objects, DataError> {
        let input = File::open(path).map_err(|error| DataError::io(path, error))?;
        let mut objects = Objects {
            path: path.to_owned(),
            input: BufReader::with_capacity(1 << 16, input),
            line: 1,
            state: ReadState::Lines,
            buffer: Vec::new(),
        };
        objects.skip_byte_order_mark()?;
        if objects.skip_white_space()? == Some(b'[') {
            objects.input.consume(1);
            objects.state = ReadState::ListStart;
        }
        Ok(objects)
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), DataError> {
        let start = self.input.fill_buf().map_err(|error| DataError::io(&self.path, error))?;
        if start.starts_with(b"\xEF\xBB\xBF") {
            self.input.consume(3);
        }
        Ok(())
    }

    /// The next byte, which stays in the input; `None` at the end of the file.
    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        let bytes = self.input.fill_buf().map_err(|error| DataError::io(&self.path, error))?;
        Ok(bytes.first().copied())
    }

    /// Skips white space and then peeks.
    fn skip_white_space(&mut self) -> Result<Option<u8>, DataError> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.line += u64::from(byte == b'\n');
            self.input.consume(1);
        }
        Ok(None)
    }

    /// The object of the next line that is not blank.
    fn next_line(&mut self) -> Option<Result<Line, DataError>> {
        loop {
            self.buffer.clear();
            match self.input.read_until(b'\n', &mut self.buffer) {
                Err(error) => return Some(Err(DataError::io(&self.path, error))),
                Ok(0) => return None,
                Ok(_) => {}
            }
            let line = self.line;
            self.line += 1;
            if !self.buffer.trim_ascii().is_empty() {
                return Some(self.parse(line).map(|object| (line, object)));
            }
        }
    }

    /// The next object of a list.
    fn next_in_list(&mut self) -> Result<Option<Line>, DataError> {
        let mut byte = self.skip_white_space()?;
        if self.state == ReadState::List && byte == Some(b',') {
            self.input.consume(1);
            byte = self.skip_white_space()?;
        } else if byte == Some(b']') {
            self.input.consume(1);
            self.state = ReadState::End;
            return match self.skip_white_space()? {
                None => Ok(None),
                Some(_) => Err(self.error_here("expected the end of the file after the list")),
            };
        } else if self.state == ReadState::List && byte.is_some() {
            return Err(self.error_here("expected `,` or `]` after an object of the list"));
        }
        self.state = ReadState::List;
        match byte {
            Some(b'{') => {
                let line = self.line;
                self.read_balanced()?;
                Ok(Some((line, self.parse(line)?)))
            }
            Some(_) => Err(self.error_here("expected an object (`{`) in the list")),
            None => {
                Err(self
                    .error_here("the list is not closed: expected `]`, got the end of the file"))
            }
        }
    }

    /// Reads from `{` to the matching `}` into the buffer.
    fn read_balanced(&mut self) -> Result<(), DataError> {
        self.buffer.clear();
        let start = self.line;
        let mut depth = 0_usize;
        let (mut in_string, mut escaped) = (false, false);
        while let Some(byte) = self.peek()? {
            self.input.consume(1);
            self.buffer.push(byte);
            self.line += u64::from(byte == b'\n');
            if in_string {
                in_string = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        let message = "the object that starts here is not closed before the end of the file";
        Err(DataError::line(&self.path, start, message))
    }

    /// The object in the buffer, which starts on `line`.
    fn parse(&self, line: u64) -> Result<Map<String, Json>, DataError> {
        let text = std::str::from_utf8(&self.buffer).map_err(|error| {
            let message =
                format!("invalid UTF-8 at byte {} of the object", error.valid_up_to() + 1);
            DataError::line(&self.path, line, message)
        })?;
        match serde_json::from_str(text.trim_end()) {
            Ok(Json::Object(object)) => Ok(object),
            Ok(other) => {
                let message = format!("expected an object, got {}", json_kind(&other));
                Err(DataError::line(&self.path, line, message))
            }
            Err(error) => {
                // The position that serde_json appends counts lines from the start of the object.
                let description = error.to_string();
                let description = description.split(" at line ").next().unwrap_or(&description);
                let message = format!(
                    "invalid JSON at column {}: {description} in {}",
                    error.column(),
                    quoted(text.trim())
                );
                Err(DataError::line(&self.path, line + error.line() as u64 - 1, message))
            }
        }
    }

    fn error_here(&self, message: &str) -> DataError {
        DataError::line(&self.path, self.line, message)
    }
}

impl Iterator for Objects {
    type Item = Result<Line, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match self.state {
            ReadState::Lines => self.next_line(),
            ReadState::ListStart | ReadState::List => self.next_in_list().transpose(),
            ReadState::End => None,
        };
        if !matches!(item, Some(Ok(_))) {
            self.state = ReadState::End;
        }
        item
    }
}

/// Reads the rows of a JSON file. The keys of the first object are the columns.
pub(crate) struct JsonFile {
    objects: Objects,
    /// The first object, until it is returned: opening reads it for its keys.
    first: Option<Line>,
    selection: Selection,
}

impl JsonFile {
    /// Opens a file; no `selection` selects all keys of the first object, and no others.
    pub(crate) fn open(path: &Path, selection: Option<&Selection>) -> Result<JsonFile, DataError> {
        let mut objects = Objects::open(path)?;
        let first = objects.next().transpose()?;
        let keys: Vec<&str> =
            first.iter().flat_map(|(_, object)| object.keys().map(String::as_str)).collect();
        if let (Some((line, _)), true) = (&first, keys.is_empty()) {
            return Err(DataError::line(
                path,
                *line,
                "expected an object with keys, got an empty object",
            ));
        }
        let selection = match selection {
            None => {
                let columns = keys.iter().map(|&key| key.to_owned()).collect();
                Selection { columns, exact: true }
            }
            Some(selection) => selection.clone(),
        };
        // Columns that the user selected must exist in the first object; the columns of an exact
        // selection may be missing, which means null. An empty file is reported by the caller.
        if !selection.exact && first.is_some() {
            selection.check(path, &keys)?;
        }
        Ok(JsonFile { objects, first, selection })
    }

    /// Names of the selected columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.selection.columns
    }

    /// At most `max_rows` further rows; `None` at the end of the file.
    pub(crate) fn next_rows(&mut self, max_rows: usize) -> Result<Option<Rows>, DataError> {
        let mut columns: Vec<Vec<Value>> = vec![Vec::new(); self.selection.columns.len()];
        let mut rows = 0;
        while rows < max_rows {
            let Some((line, object)) =
                self.first.take().map(Ok).or_else(|| self.objects.next()).transpose()?
            else {
                break;
            };
            self.add_row(line, object, &mut columns)?;
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        Rows::new(self.selection.columns.iter().cloned().zip(columns).collect()).map(Some)
    }

    /// Appends the value of each selected key to its column; a missing key is null.
    fn add_row(
        &self,
        line: u64,
        mut object: Map<String, Json>,
        columns: &mut [Vec<Value>],
    ) -> Result<(), DataError> {
        let path = &self.objects.path;
        for (name, values) in self.selection.columns.iter().zip(columns) {
            let value = object.get_mut(name).map_or(Json::Null, Json::take);
            values.push(from_json(value).map_err(|message| {
                DataError::line(path, line, format!("column `{name}`: {message}"))
            })?);
        }
        if self.selection.exact {
            let is_selected = |key: &str| self.selection.columns.iter().any(|name| name == key);
            if let Some(key) = object.keys().find(|key| !is_selected(key)) {
                let expected = quoted_list(self.selection.columns.iter().map(String::as_str));
                let message = format!(
                    "unexpected key `{key}`: the first row of the split has {expected}; to ignore \
                     other keys, select the columns to read"
                );
                return Err(DataError::line(path, line, message));
            }
        }
        Ok(())
    }
}

/// The cell of a JSON value; `Err` says why there is none.
fn from_json(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Boolean(truth),
        Json::String(text) => Value::Text(text),
        Json::Array(values) => {
            Value::List(values.into_iter().map(from_json).collect::<Result<_, String>>()?)
        }
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => Value::Integer(integer),
            (None, Some(float)) if !number.is_u64() => Value::Float(float),
            _ => return Err(format!("expected a signed 64-bit integer, got {number}")),
        },
        Json::Object(_) => {
            let message = "expected text, a number, a boolean or a list of these, got an object; \
                           to skip this column, select the columns to read";
            return Err(message.to_owned());
        }
    })
}

fn json_kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
