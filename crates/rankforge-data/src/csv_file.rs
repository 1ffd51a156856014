//! Comma- and tab-separated files with a header row.
//!
//! The type of a column is inferred from all its cells: it holds integers or floats only when every
//! cell that is not empty, in every file of the split, is one. So the question "1984" in a column
//! of questions stays text. The inference takes a first pass over the files; the second pass reads
//! the rows.

use crate::error::DataError;
use crate::rows::{Rows, Value};
use crate::selection::Selection;
use csv::{ErrorKind, StringRecord};
use indexmap::IndexMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Type of a column, in the order in which it is widened by further cells.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Empty,
    Integer,
    Float,
    Text,
}

/// Column name to type, over all `paths`, the files of one split.
///
/// # Errors
/// A malformed file, or a file with a column that the first one lacks. A column that a later file
/// lacks is found by [`CsvFile::open`].
pub(crate) fn infer(paths: &[PathBuf]) -> Result<IndexMap<String, Kind>, DataError> {
    let mut split_kinds: Option<IndexMap<String, Kind>> = None;
    for path in paths {
        let mut reader = open(path)?;
        let header = header(path, &mut reader)?;
        let kinds = split_kinds
            .get_or_insert_with(|| header.iter().map(|name| (name.clone(), Kind::Empty)).collect());
        let index_of = |name: &String| {
            kinds.get_index_of(name).ok_or_else(|| {
                let expected: Vec<&str> = kinds.keys().map(String::as_str).collect();
                DataError::unexpected_column(name, path, &expected)
            })
        };
        // Of each cell of a record: the index of its column in `kinds`.
        let indices = header.iter().map(index_of).collect::<Result<Vec<usize>, DataError>>()?;
        let mut record = StringRecord::new();
        let (mut last_byte, mut last_line) = (0, 1);
        while reader.read_record(&mut record).map_err(|error| csv_error(path, error))? {
            for (&index, cell) in indices.iter().zip(&record) {
                // A text column stays one whatever follows, so most cells need no parsing.
                if kinds[index] != Kind::Text {
                    let kind = cell_kind(cell);
                    if kind > kinds[index] {
                        kinds[index] = kind;
                    }
                }
            }
            if let Some(position) = record.position() {
                (last_byte, last_line) = (position.byte(), position.line());
            }
        }
        check_last_quote(path, last_byte, last_line)?;
    }
    Ok(split_kinds.unwrap_or_default())
}

/// Reads the rows of one file.
pub(crate) struct CsvFile {
    path: PathBuf,
    reader: csv::Reader<File>,
    record: StringRecord,
    /// Names of the selected columns.
    columns: Vec<String>,
    /// Of each selected column: its index in a record, and its type.
    cells: Vec<(usize, Kind)>,
}

impl CsvFile {
    /// Opens a file of a split whose column types are `kinds`; no `selection` selects all columns.
    pub(crate) fn open(
        path: &Path,
        selection: Option<&Selection>,
        kinds: &IndexMap<String, Kind>,
    ) -> Result<CsvFile, DataError> {
        let mut reader = open(path)?;
        let header = header(path, &mut reader)?;
        let names: Vec<&str> = header.iter().map(String::as_str).collect();
        let columns = match selection {
            None => header.clone(),
            Some(selection) => {
                selection.check(path, &names)?;
                selection.columns.clone()
            }
        };
        let cells = columns
            .iter()
            .filter_map(|name| {
                let index = header.iter().position(|other| other == name)?;
                Some((index, kinds[name.as_str()]))
            })
            .collect();
        Ok(CsvFile { path: path.to_owned(), reader, record: StringRecord::new(), columns, cells })
    }

    /// Names of the selected columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// At most `max_rows` further rows; `None` at the end of the file.
    pub(crate) fn next_rows(&mut self, max_rows: usize) -> Result<Option<Rows>, DataError> {
        let mut columns: Vec<Vec<Value>> = vec![Vec::new(); self.columns.len()];
        let mut rows = 0;
        while rows < max_rows
            && self
                .reader
                .read_record(&mut self.record)
                .map_err(|error| csv_error(&self.path, error))?
        {
            for (&(index, kind), values) in self.cells.iter().zip(&mut columns) {
                values.push(cell_value(&self.record[index], kind));
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        Rows::new(self.columns.iter().cloned().zip(columns).collect()).map(Some)
    }
}

fn open(path: &Path) -> Result<csv::Reader<File>, DataError> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter(path))
        .from_path(path)
        .map_err(|error| csv_error(path, error))
}

/// The column names in the first row, which must differ.
fn header(path: &Path, reader: &mut csv::Reader<File>) -> Result<Vec<String>, DataError> {
    let header = reader.headers().map_err(|error| csv_error(path, error))?;
    if header.is_empty() {
        return Err(DataError::file(
            path,
            "expected a header row of column names, got an empty file",
        ));
    }
    let names: Vec<String> = header.iter().map(str::to_owned).collect();
    match (1..names.len()).find(|&index| names[..index].contains(&names[index])) {
        Some(index) => {
            let message = format!("the header contains column `{}` twice", names[index]);
            Err(DataError::line(path, 1, message))
        }
        None => Ok(names),
    }
}

/// The narrowest type that holds a cell.
fn cell_kind(cell: &str) -> Kind {
    if cell.is_empty() {
        return Kind::Empty;
    }
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    // As an integer, an identifier such as 007 would lose its leading zeros.
    let leading_zero =
        digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    if leading_zero {
        return Kind::Text;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return if cell.parse::<i64>().is_ok() { Kind::Integer } else { Kind::Text };
    }
    // Rust parses "nan" and "infinity" as floats; in a text column they are words.
    let numeric = digits.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    match cell.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Kind::Float,
        _ => Kind::Text,
    }
}

fn cell_value(cell: &str, kind: Kind) -> Value {
    if cell.is_empty() {
        return Value::Null;
    }
    // A cell does not fit its column's type only when the file changed since the first pass.
    let text = || Value::Text(cell.to_owned());
    match kind {
        Kind::Integer => cell.parse().map_or_else(|_| text(), Value::Integer),
        Kind::Float => cell.parse().map_or_else(|_| text(), Value::Float),
        Kind::Empty | Kind::Text => text(),
    }
}

/// Checks that the last record, which starts at byte `start` and line `line`, closes its quotes.
///
/// The csv crate accepts a quote that is still open at the end of the file, and so reads all lines
/// after it as one cell.
fn check_last_quote(path: &Path, start: u64, line: u64) -> Result<(), DataError> {
    enum QuoteState {
        FieldStart,
        Field,
        Quoted,
        QuoteInQuoted,
    }
    let io = |error| DataError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut record = Vec::new();
    file.read_to_end(&mut record).map_err(io)?;
    let ends_field = |byte: u8| byte == delimiter(path) || byte == b'\n' || byte == b'\r';
    let mut state = QuoteState::FieldStart;
    for byte in record {
        state = match state {
            QuoteState::FieldStart if byte == b'"' => QuoteState::Quoted,
            QuoteState::Quoted if byte == b'"' => QuoteState::QuoteInQuoted,
            QuoteState::Quoted => QuoteState::Quoted,
            QuoteState::QuoteInQuoted if byte == b'"' => QuoteState::Quoted,
            _ if ends_field(byte) => QuoteState::FieldStart,
            _ => QuoteState::Field,
        };
    }
    match state {
        QuoteState::Quoted => {
            Err(DataError::line(path, line, "a quote in this row is never closed"))
        }
        _ => Ok(()),
    }
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        ErrorKind::Io(source) => DataError::io(path, source),
        ErrorKind::Utf8 { pos, err } => {
            let line = pos.map_or(line, |pos| pos.line());
            let message = format!("invalid UTF-8 in cell {}", err.field() + 1);
            DataError::line(path, line, message)
        }
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.map_or(line, |pos| pos.line());
            let message = format!("expected {expected_len} cells, as in the header, got {len}");
            DataError::line(path, line, message)
        }
        other => DataError::file(path, format!("cannot be read as csv: {other:?}")),
    }
}

/// The cell separator of a file: a tab for `.tsv`, else a comma.
pub(crate) fn delimiter(path: &Path) -> u8 {
    let tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    if tabs { b'\t' } else { b',' }
}
