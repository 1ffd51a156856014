//! JSON objects, one per line or in one list, read one by one.

use crate::reader::Wanted;
use crate::rows::quoted;
use crate::{DataError, Rows, Value};
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

/// The objects of a file, each with the line it starts on; holds one object at a time.
pub(crate) struct Objects {
    path: PathBuf,
    input: BufReader<File>,
    line: u64,
    shape: Shape,
    buffer: Vec<u8>,
}

/// An object and the line it starts on.
type Line = (u64, Map<String, Json>);

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    Lines,
    ListStart,
    List,
    End,
}

impl Objects {
    pub(crate) fn open(path: &Path) -> Result<Objects, DataError> {
        let input = File::open(path).map_err(|error| DataError::io(path, error))?;
        let mut objects = Objects {
            path: path.to_owned(),
            input: BufReader::with_capacity(1 << 16, input),
            line: 1,
            shape: Shape::Lines,
            buffer: Vec::new(),
        };
        objects.skip_byte_order_mark()?;
        if objects.next_visible()? == Some(b'[') {
            objects.input.consume(1);
            objects.shape = Shape::ListStart;
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

    fn peek(&mut self) -> Result<Option<u8>, DataError> {
        let ahead = self.input.fill_buf().map_err(|error| DataError::io(&self.path, error))?;
        Ok(ahead.first().copied())
    }

    /// Skips white space, counting lines.
    fn next_visible(&mut self) -> Result<Option<u8>, DataError> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.line += u64::from(byte == b'\n');
            self.input.consume(1);
        }
        Ok(None)
    }

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

    fn next_in_list(&mut self) -> Result<Option<Line>, DataError> {
        let mut byte = self.next_visible()?;
        if self.shape == Shape::List && byte == Some(b',') {
            self.input.consume(1);
            byte = self.next_visible()?;
        } else if byte == Some(b']') {
            self.input.consume(1);
            self.shape = Shape::End;
            return match self.next_visible()? {
                None => Ok(None),
                Some(_) => Err(self.wrong("expected the end of the file after the list")),
            };
        } else if self.shape == Shape::List && byte.is_some() {
            return Err(self.wrong("expected `,` or `]` after an object of the list"));
        }
        self.shape = Shape::List;
        match byte {
            Some(b'{') => {
                let line = self.line;
                self.read_balanced()?;
                Ok(Some((line, self.parse(line)?)))
            }
            Some(_) => Err(self.wrong("expected an object (`{`) in the list")),
            None => {
                Err(self.wrong("the list is not closed: expected `]`, got the end of the file"))
            }
        }
    }

    /// Reads from `{` to its `}` into the buffer.
    fn read_balanced(&mut self) -> Result<(), DataError> {
        self.buffer.clear();
        let (start, mut depth, mut in_text, mut escaped) = (self.line, 0_usize, false, false);
        while let Some(byte) = self.peek()? {
            self.input.consume(1);
            self.buffer.push(byte);
            self.line += u64::from(byte == b'\n');
            if in_text {
                in_text = escaped || byte != b'"';
                escaped = !escaped && byte == b'\\';
                continue;
            }
            match byte {
                b'"' => in_text = true,
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Ok(());
            }
        }
        let message = "the object that starts here is not closed before the end of the file";
        Err(DataError::row(&self.path, start, message))
    }

    fn parse(&self, line: u64) -> Result<Map<String, Json>, DataError> {
        let text = std::str::from_utf8(&self.buffer).map_err(|error| {
            let message = format!("invalid UTF-8 at byte {} of the row", error.valid_up_to() + 1);
            DataError::row(&self.path, line, message)
        })?;
        match serde_json::from_str(text.trim_end()) {
            Ok(Json::Object(object)) => Ok(object),
            Ok(other) => {
                let message = format!("expected an object, got {}", json_kind(&other));
                Err(DataError::row(&self.path, line, message))
            }
            Err(error) => {
                let all = error.to_string();
                let what = all.split(" at line ").next().unwrap_or(&all);
                let message = format!(
                    "not valid JSON at column {}: {what} in {}",
                    error.column(),
                    quoted(text.trim())
                );
                Err(DataError::row(&self.path, line + error.line() as u64 - 1, message))
            }
        }
    }

    fn wrong(&self, message: &str) -> DataError {
        DataError::row(&self.path, self.line, message)
    }
}

impl Iterator for Objects {
    type Item = Result<Line, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = match self.shape {
            Shape::Lines => self.next_line(),
            Shape::ListStart | Shape::List => self.next_in_list().transpose(),
            Shape::End => None,
        };
        if !matches!(item, Some(Ok(_))) {
            self.shape = Shape::End;
        }
        item
    }
}

/// Rows of a JSON file; the keys of the first row are the columns.
pub(crate) struct JsonFile {
    objects: Objects,
    first: Option<Line>,
    wanted: Wanted,
}

impl JsonFile {
    pub(crate) fn open(path: &Path, wanted: Option<&Wanted>) -> Result<JsonFile, DataError> {
        let mut objects = Objects::open(path)?;
        let first = objects.next().transpose()?;
        let keys: Vec<&str> =
            first.iter().flat_map(|(_, object)| object.keys().map(String::as_str)).collect();
        if let (Some((line, _)), true) = (&first, keys.is_empty()) {
            return Err(DataError::row(
                path,
                *line,
                "expected an object with keys, got an empty one",
            ));
        }
        let wanted = match wanted {
            None => Wanted { columns: keys.iter().map(|&key| key.to_owned()).collect(), all: true },
            Some(wanted) => wanted.clone(),
        };
        // Without `all` the columns come from the user, who should hear of a wrong name before the first row;
        // an empty file is found out by the caller.
        if !wanted.all && first.is_some() {
            wanted.check(path, &keys)?;
        }
        Ok(JsonFile { objects, first, wanted })
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.wanted.columns
    }

    pub(crate) fn next_rows(&mut self, most: usize) -> Result<Option<Rows>, DataError> {
        let mut columns: Vec<Vec<Value>> = vec![Vec::new(); self.wanted.columns.len()];
        let mut rows = 0;
        while rows < most {
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
        Rows::new(self.wanted.columns.iter().cloned().zip(columns).collect()).map(Some)
    }

    fn add_row(
        &self,
        line: u64,
        mut object: Map<String, Json>,
        columns: &mut [Vec<Value>],
    ) -> Result<(), DataError> {
        let path = &self.objects.path;
        for (name, values) in self.wanted.columns.iter().zip(columns) {
            let value = object.get_mut(name).map_or(Json::Null, Json::take);
            values.push(from_json(value).map_err(|message| {
                DataError::row(path, line, format!("column `{name}`: {message}"))
            })?);
        }
        if self.wanted.all {
            let known = |key: &str| self.wanted.columns.iter().any(|name| name == key);
            if let Some(key) = object.keys().find(|key| !known(key)) {
                let there = crate::error::list(self.wanted.columns.iter().map(String::as_str));
                let message = format!(
                    "new key `{key}`: expected those of the first row, {there}; choose columns to leave it out"
                );
                return Err(DataError::row(path, line, message));
            }
        }
        Ok(())
    }
}

fn from_json(json: Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::Boolean(truth),
        Json::String(text) => Value::Text(text),
        Json::Array(values) => {
            Value::List(values.into_iter().map(from_json).collect::<Result<_, String>>()?)
        }
        Json::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Value::Integer(whole),
            (None, Some(float)) if !number.is_u64() => Value::Float(float),
            _ => return Err(format!("the whole number {number} does not fit 64 bits with sign")),
        },
        Json::Object(_) => {
            return Err(
                "expected text, a number, a truth value or a list of these, got an object; \
                        choose columns to leave it out"
                    .to_owned(),
            );
        }
    })
}

fn json_kind(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
