//! Comma- and tab-separated files with a header row.
//!
//! A column is of whole numbers or of numbers only when every cell that is not empty is one, over all files of the
//! split; this takes a pass of its own before reading. So a question "1984" in a column of questions stays text.

use crate::reader::Wanted;
use crate::{DataError, Rows, Value};
use csv::{ErrorKind, StringRecord};
use indexmap::IndexMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What all cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Empty,
    Integer,
    Float,
    Text,
}

/// Column kinds over several files of one header.
pub(crate) fn infer(paths: &[PathBuf]) -> Result<IndexMap<String, Kind>, DataError> {
    let mut all: Option<IndexMap<String, Kind>> = None;
    for path in paths {
        let mut reader = open(path)?;
        let header = header(path, &mut reader)?;
        let kinds = all
            .get_or_insert_with(|| header.iter().map(|name| (name.clone(), Kind::Empty)).collect());
        let slots = header
            .iter()
            .map(|name| {
                let there: Vec<&str> = kinds.keys().map(String::as_str).collect();
                let place = format!("in the first file of the split ({} has it)", path.display());
                kinds
                    .get_index_of(name)
                    .ok_or_else(|| DataError::missing_column(name, &place, &there))
            })
            .collect::<Result<Vec<usize>, DataError>>()?;
        let mut record = StringRecord::new();
        let (mut byte, mut line) = (0, 1);
        while reader.read_record(&mut record).map_err(|error| csv_error(path, error))? {
            for (&slot, cell) in slots.iter().zip(&record) {
                // Nothing can turn a text column back, so most cells are not looked at.
                if kinds[slot] != Kind::Text {
                    let kind = cell_kind(cell);
                    if kind > kinds[slot] {
                        kinds[slot] = kind;
                    }
                }
            }
            if let Some(position) = record.position() {
                (byte, line) = (position.byte(), position.line());
            }
        }
        check_last_quote(path, byte, line)?;
    }
    Ok(all.unwrap_or_default())
}

/// Rows of one file.
pub(crate) struct CsvFile {
    path: PathBuf,
    reader: csv::Reader<File>,
    record: StringRecord,
    wanted: Vec<String>,
    /// Per wanted column: its place in the record and its kind.
    slots: Vec<(usize, Kind)>,
}

impl CsvFile {
    pub(crate) fn open(
        path: &Path,
        wanted: Option<&Wanted>,
        kinds: &IndexMap<String, Kind>,
    ) -> Result<CsvFile, DataError> {
        let mut reader = open(path)?;
        let header = header(path, &mut reader)?;
        let names: Vec<&str> = header.iter().map(String::as_str).collect();
        let wanted = match wanted {
            None => header.clone(),
            Some(wanted) => {
                wanted.check(path, &names)?;
                wanted.columns.clone()
            }
        };
        let slots = wanted
            .iter()
            .filter_map(|name| {
                Some((header.iter().position(|there| there == name)?, kinds[name.as_str()]))
            })
            .collect();
        Ok(CsvFile { path: path.to_owned(), reader, record: StringRecord::new(), wanted, slots })
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.wanted
    }

    pub(crate) fn next_rows(&mut self, most: usize) -> Result<Option<Rows>, DataError> {
        let mut columns: Vec<Vec<Value>> = vec![Vec::new(); self.wanted.len()];
        let mut rows = 0;
        while rows < most
            && self
                .reader
                .read_record(&mut self.record)
                .map_err(|error| csv_error(&self.path, error))?
        {
            for (&(place, kind), values) in self.slots.iter().zip(&mut columns) {
                values.push(cell_value(&self.record[place], kind));
            }
            rows += 1;
        }
        if rows == 0 {
            return Ok(None);
        }
        Rows::new(self.wanted.iter().cloned().zip(columns).collect()).map(Some)
    }
}

fn open(path: &Path) -> Result<csv::Reader<File>, DataError> {
    csv::ReaderBuilder::new()
        .delimiter(delimiter(path))
        .from_path(path)
        .map_err(|error| csv_error(path, error))
}

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
            let message = format!("the header names column `{}` twice", names[index]);
            Err(DataError::row(path, 1, message))
        }
        None => Ok(names),
    }
}

fn cell_kind(cell: &str) -> Kind {
    if cell.is_empty() {
        return Kind::Empty;
    }
    let digits = cell.strip_prefix('-').unwrap_or(cell);
    // An identifier such as 007 would lose its zeros as a number.
    let leading_zero =
        digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    if leading_zero {
        return Kind::Text;
    }
    if digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return if cell.parse::<i64>().is_ok() { Kind::Integer } else { Kind::Text };
    }
    // Only digits, signs, a point and an exponent: "nan" and "infinity" are words here.
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
    // The file may have changed since the first pass; its text is then still the truth.
    let text = || Value::Text(cell.to_owned());
    match kind {
        Kind::Integer => cell.parse().map_or_else(|_| text(), Value::Integer),
        Kind::Float => cell.parse().map_or_else(|_| text(), Value::Float),
        Kind::Empty | Kind::Text => text(),
    }
}

/// Refuses a last record whose quote is never closed: everything behind it would have become one cell.
fn check_last_quote(path: &Path, start: u64, line: u64) -> Result<(), DataError> {
    enum At {
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
    let mut at = At::FieldStart;
    for byte in record {
        at = match at {
            At::FieldStart if byte == b'"' => At::Quoted,
            At::Quoted if byte == b'"' => At::QuoteInQuoted,
            At::Quoted => At::Quoted,
            At::QuoteInQuoted if byte == b'"' => At::Quoted,
            _ if ends_field(byte) => At::FieldStart,
            _ => At::Field,
        };
    }
    match at {
        At::Quoted => Err(DataError::row(path, line, "a quote of this row is never closed")),
        _ => Ok(()),
    }
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    let line = error.position().map_or(1, csv::Position::line);
    match error.into_kind() {
        ErrorKind::Io(source) => DataError::io(path, source),
        ErrorKind::Utf8 { pos, err } => {
            let line = pos.map_or(line, |pos| pos.line());
            let message = format!("invalid UTF-8 in cell {} of the row", err.field() + 1);
            DataError::row(path, line, message)
        }
        ErrorKind::UnequalLengths { pos, expected_len, len } => {
            let line = pos.map_or(line, |pos| pos.line());
            let message = format!("expected {expected_len} cells as in the header, got {len}");
            DataError::row(path, line, message)
        }
        other => DataError::file(path, format!("not readable as csv: {other:?}")),
    }
}

/// A tab in `.tsv` files, else a comma.
pub(crate) fn delimiter(path: &Path) -> u8 {
    let tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    if tabs { b'\t' } else { b',' }
}
