//! Comma- and tab-separated files with a header row.
//!
//! Their cells have no types: each is a [`Value::Untyped`], and the role of its column decides
//! whether it is a text or a number. So the question "1984" in a column of questions is a text,
//! even where all questions look like numbers.

use crate::chunk::Chunk;
use crate::compression::{self, Compression};
use crate::error::DataError;
use crate::value::Value;
use csv::{ErrorKind, StringRecord};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// Reads the rows of one file.
pub(crate) struct CsvFile {
    path: PathBuf,
    reader: csv::Reader<Box<dyn Read + Send + Sync>>,
    record: StringRecord,
    /// Names of all columns.
    names: Vec<String>,
    /// Index of each chosen column that the file has.
    chosen: Vec<usize>,
    /// Byte and line on which the last record starts.
    last: (u64, u64),
    /// Whether cells may be in quotes.
    quoting: bool,
}

impl CsvFile {
    /// Opens a file. `None` as `chosen` chooses all columns; columns that it lacks are left out.
    /// With `header`, the names of the columns, the first row is one of cells; cells between tabs
    /// are then taken as they are, with their quotes, as such files are written without any.
    pub(crate) fn open(
        path: &Path,
        chosen: Option<&[String]>,
        header: Option<&[String]>,
    ) -> Result<CsvFile, DataError> {
        let input = compression::open(path).map_err(|error| DataError::io(path, error))?;
        let delimiter = delimiter(path);
        let quoting = header.is_none() || delimiter != b'\t';
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(header.is_none())
            .quoting(quoting)
            .from_reader(input);
        let names = match header {
            Some(names) => names.to_vec(),
            None => header_row(path, &mut reader)?,
        };
        if header.is_none() && names.iter().any(|name| name.contains('\n')) {
            check_quotes(path, (0, 1))?;
        }
        let chosen = match chosen {
            None => (0..names.len()).collect(),
            Some(chosen) => {
                let index = |name| names.iter().position(|other| other == name);
                chosen.iter().filter_map(index).collect()
            }
        };
        let (path, record) = (path.to_owned(), StringRecord::new());
        Ok(CsvFile { path, reader, record, names, chosen, last: (0, 1), quoting })
    }

    /// Names of all columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// At most `max_rows` further rows; `None` at the end of the file.
    pub(crate) fn next_rows(&mut self, max_rows: usize) -> Result<Option<Chunk>, DataError> {
        let mut columns: Vec<Vec<Value>> = vec![Vec::new(); self.chosen.len()];
        let mut rows = 0;
        while rows < max_rows {
            let read = self.reader.read_record(&mut self.record);
            if !read.map_err(|error| self.row_error(error))? {
                if self.quoting {
                    check_quotes(&self.path, self.last)?;
                }
                break;
            }
            if let Some(position) = self.record.position() {
                self.last = (position.byte(), position.line());
            }
            let (expected, got) = (self.names.len(), self.record.len());
            if got != expected {
                let message = format!("expected {expected} cells, as there are names, got {got}");
                return Err(DataError::line(&self.path, self.last.1, message));
            }
            for (&index, values) in self.chosen.iter().zip(&mut columns) {
                values.push(Value::Untyped(self.record[index].to_owned()));
            }
            rows += 1;
        }
        let names = self.chosen.iter().map(|&index| self.names[index].clone());
        let columns = names.zip(columns).collect();
        Ok((rows > 0).then_some(Chunk { rows, columns }))
    }

    /// The error for a row; if cells are missing because a quote is never closed, that of the
    /// quote.
    fn row_error(&self, error: csv::Error) -> DataError {
        if let ErrorKind::UnequalLengths { pos: Some(start), .. } = error.kind()
            && self.quoting
            && let Err(open_quote) = check_quotes(&self.path, (start.byte(), start.line()))
        {
            return open_quote;
        }
        csv_error(&self.path, error)
    }
}

/// The column names in the first row, which must differ.
fn header_row<R: Read>(path: &Path, reader: &mut csv::Reader<R>) -> Result<Vec<String>, DataError> {
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

/// Checks that all quotes are closed from the record on that starts at byte and line `start`.
///
/// The csv crate accepts a quote that is still open at the end of the file, and so reads all lines
/// after it as one cell.
fn check_quotes(path: &Path, (start, mut line): (u64, u64)) -> Result<(), DataError> {
    #[derive(PartialEq)]
    enum QuoteState {
        FieldStart,
        Field,
        Quoted,
        QuoteInQuoted,
    }
    if !path.is_file() {
        // A pipe cannot be read again.
        return Ok(());
    }
    let io = |error| DataError::io(path, error);
    let mut file = compression::open(path).map_err(io)?;
    io::copy(&mut file.by_ref().take(start), &mut io::sink()).map_err(io)?;
    let delimiter = delimiter(path);
    let ends_field = |byte: u8| byte == delimiter || byte == b'\n' || byte == b'\r';
    let mut state = QuoteState::FieldStart;
    let mut quote_line = line;
    for byte in BufReader::new(file).bytes() {
        let byte = byte.map_err(io)?;
        if state == QuoteState::FieldStart && byte == b'"' {
            quote_line = line;
        }
        line += u64::from(byte == b'\n');
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
            let message = "the quote (\") that opens a cell in this line is never closed";
            Err(DataError::line(path, quote_line, message))
        }
        _ => Ok(()),
    }
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    let line = error.position().map_or(1, csv::Position::line);
    let description = error.to_string();
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
        _ => DataError::file(path, format!("cannot be read as csv: {description}")),
    }
}

/// The cell separator of a file: a tab for `.tsv`, compressed or not, else a comma.
pub(crate) fn delimiter(path: &Path) -> u8 {
    let path = Compression::strip(path);
    let tabs = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
    if tabs { b'\t' } else { b',' }
}
