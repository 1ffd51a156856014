//! The objects of a JSON file: one per line, or one list of them. They are read one at a time.

use crate::compression::{self, Compression};
use crate::error::DataError;
use crate::value::first_characters;
use serde::de::DeserializeSeed;
use serde_json::{Deserializer, Map, Value as Json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

/// The objects of a file. Ends after the first error.
pub(crate) struct Objects {
    path: PathBuf,
    input: BufReader<Box<dyn Read + Send + Sync>>,
    /// Number of the next line, from 1.
    line: u64,
    /// Bytes of the file before the next line, in a file of lines.
    byte: u64,
    state: ReadState,
    /// Text of the current object.
    buffer: Vec<u8>,
    /// The greatest number of bytes of a line or an object.
    longest: usize,
}

/// What no row of texts or embeddings comes near, and memory has room for: a compressed file of
/// some kilobytes can have a line of gigabytes.
const LONGEST: usize = 1 << 28;

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
        let input = compression::open(path).map_err(|error| DataError::io(path, error))?;
        let mut objects = Objects {
            path: path.to_owned(),
            input: BufReader::with_capacity(1 << 16, input),
            line: 1,
            byte: 0,
            state: ReadState::Lines,
            buffer: Vec::new(),
            longest: LONGEST,
        };
        objects.skip_byte_order_mark()?;
        if objects.skip_white_space()? == Some(b'[') {
            objects.input.consume(1);
            objects.state = ReadState::ListStart;
        }
        Ok(objects)
    }

    /// Opens a file of lines, not compressed, in its middle: at a byte where a line starts, and the
    /// number of that line.
    pub(crate) fn open_at(path: &Path, byte: u64, line: u64) -> Result<Objects, DataError> {
        let io = |error| DataError::io(path, error);
        let mut input = File::open(path).map_err(io)?;
        input.seek(SeekFrom::Start(byte)).map_err(io)?;
        let input = BufReader::with_capacity(1 << 16, Box::new(input) as Box<_>);
        let (state, buffer, longest) = (ReadState::Lines, Vec::new(), LONGEST);
        Ok(Objects { path: path.to_owned(), input, line, byte, state, buffer, longest })
    }

    /// The byte and the number of the next line; `None` in a list, and in a compressed file, which
    /// can only be read from its beginning.
    pub(crate) fn place(&self) -> Option<(u64, u64)> {
        let is_seekable = Compression::of(&self.path) == Compression::None;
        (self.state == ReadState::Lines && is_seekable).then_some((self.byte, self.line))
    }

    fn skip_byte_order_mark(&mut self) -> Result<(), DataError> {
        let start = self.input.fill_buf().map_err(|error| DataError::io(&self.path, error))?;
        if start.starts_with(b"\xEF\xBB\xBF") {
            self.input.consume(3);
            self.byte += 3;
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
            self.byte += 1;
            self.input.consume(1);
        }
        Ok(None)
    }

    /// Reads the text of the next object into the buffer, and returns the line that it starts on,
    /// from 1; `None` at the end of the file.
    pub(crate) fn advance(&mut self) -> Result<Option<u64>, DataError> {
        let line = match self.state {
            ReadState::Lines => self.next_line(),
            ReadState::ListStart | ReadState::List => self.next_in_list(),
            ReadState::End => Ok(None),
        };
        if !matches!(line, Ok(Some(_))) {
            self.state = ReadState::End;
        }
        line
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Result<Option<u64>, DataError> {
        loop {
            self.buffer.clear();
            let mut input = self.input.by_ref().take(self.longest as u64 + 1);
            let read = input.read_until(b'\n', &mut self.buffer);
            let read = read.map_err(|error| DataError::io(&self.path, error))?;
            if read == 0 {
                return Ok(None);
            }
            if read > self.longest {
                return Err(self.too_long(self.line));
            }
            self.byte += read as u64;
            self.line += 1;
            if !self.buffer.trim_ascii().is_empty() {
                return Ok(Some(self.line - 1));
            }
        }
    }

    /// The next object of a list.
    fn next_in_list(&mut self) -> Result<Option<u64>, DataError> {
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
                Ok(Some(line))
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
            if self.buffer.len() > self.longest {
                return Err(self.too_long(start));
            }
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

    /// Parses the object in the buffer, which starts on `line`.
    pub(crate) fn parse<'a, S: DeserializeSeed<'a>>(
        &'a mut self,
        line: u64,
        seed: S,
    ) -> Result<S::Value, DataError> {
        let parsed = parse(&self.path, &self.buffer, line, seed);
        if parsed.is_err() {
            self.state = ReadState::End;
        }
        parsed
    }

    fn too_long(&self, line: u64) -> DataError {
        let message = format!("an object of more than {} bytes", self.longest);
        DataError::line(&self.path, line, message)
    }

    fn error_here(&self, message: &str) -> DataError {
        DataError::line(&self.path, self.line, message)
    }
}

impl Iterator for Objects {
    type Item = Result<Line, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.advance().transpose()?;
        Some(line.and_then(|line| Ok((line, self.parse(line, PhantomData)?))))
    }
}

/// Parses the text of an object, which starts on `line`.
fn parse<'a, S: DeserializeSeed<'a>>(
    path: &Path,
    text: &'a [u8],
    line: u64,
    seed: S,
) -> Result<S::Value, DataError> {
    let text = std::str::from_utf8(text).map_err(|error| {
        let message = format!("invalid UTF-8 at byte {} of the object", error.valid_up_to() + 1);
        DataError::line(path, line, message)
    })?;
    let text = text.trim_end();
    let invalid = |error: serde_json::Error| {
        // The position that serde_json appends counts lines from the start of the object.
        let description = error.to_string();
        let description = description.split(" at line ").next().unwrap_or(&description);
        let message = format!(
            "invalid JSON at column {}: {description} in `{}`",
            error.column(),
            first_characters(text.trim_start())
        );
        DataError::line(path, line + error.line() as u64 - 1, message)
    };
    if !text.trim_start().starts_with('{') {
        let other: Json = serde_json::from_str(text).map_err(invalid)?;
        let message = format!("expected an object, got {}", json_kind(&other));
        return Err(DataError::line(path, line, message));
    }
    let mut deserializer = Deserializer::from_str(text);
    let value = seed.deserialize(&mut deserializer).map_err(invalid)?;
    deserializer.end().map_err(invalid)?;
    Ok(value)
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

#[cfg(test)]
mod tests {
    use super::Objects;

    #[test]
    fn an_object_that_is_too_long_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().unwrap();
        for (name, text, line) in [
            ("a.jsonl", "{\"a\": 1}\n{\"a\": \"0123456789\"}\n", 2),
            ("a.json", "[{\"a\": 1},\n\n{\"a\": \"0123456789\"}]", 3),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let mut objects = Objects::open(&path).unwrap();
            objects.longest = 16;
            assert!(objects.next().unwrap().is_ok());
            let error = objects.next().unwrap().unwrap_err().to_string();
            let expected = format!("{name}, line {line}: an object of more than 16 bytes");
            assert!(error.ends_with(&expected), "{error}");
            assert!(objects.next().is_none());
        }
    }
}
