use crate::compression::{Compression as FileCompression, TextWriter};
use crate::csv_file::delimiter;
use crate::error::DataError;
use crate::parquet_columns::{schema, to_array};
use crate::rows::Rows;
use crate::splits::Format;
use crate::value::Value;
use arrow_array::RecordBatch;
use arrow_schema::{Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use rankforge_base::{AtomicFile, quoted_list};
use serde_json::Value as Json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Writes rows in chunks to a `.jsonl`, `.ndjson`, `.csv` or `.tsv` file, compressed where `.gz` or
/// `.zst` stands behind its extension, or to a `.parquet` file.
///
/// The file has a temporary name until [`RowWriter::finish`]; dropping the writer deletes it.
///
/// In parquet files the first chunk determines the type of each column: text, integers, floats,
/// booleans, or lists of the first three. A column that is null in all of the first chunk is one of
/// text. Csv files do not tell a null from an empty text: both are an empty cell.
pub struct RowWriter {
    path: PathBuf,
    file: AtomicFile,
    output: Output,
    /// Names of the columns, once the first chunk is written.
    columns: Option<Vec<String>>,
    /// Number of rows that were written so far.
    rows: u64,
}

enum Output {
    Json(BufWriter<TextWriter>),
    /// Before the first chunk, which determines the header; `None` only while it is replaced.
    CsvStart(Option<TextWriter>),
    Csv(Box<csv::Writer<TextWriter>>),
    /// The same of the schema.
    ParquetStart(Option<File>),
    Parquet(Box<ArrowWriter<File>>, Arc<Schema>),
}

impl RowWriter {
    /// Creates a file in the format of its extension.
    ///
    /// # Errors
    /// An unknown extension, or a directory in which no file can be created. Lists of objects
    /// (`.json`) are read but not written.
    pub fn create(path: &Path) -> Result<RowWriter, DataError> {
        let stripped = FileCompression::strip(path);
        let is_list =
            stripped.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let format = Format::of(path).filter(|format| !is_list && *format != Format::Arrow);
        let Some(format) = format else {
            let message = "cannot write files with this extension: expected .jsonl, .ndjson, .csv \
                           or .tsv, each of them also with .gz or .zst, or .parquet";
            return Err(DataError::file(path, message));
        };
        let atomic = AtomicFile::create(path)?;
        let file = atomic.handle()?;
        let text = |file| TextWriter::new(file, path).map_err(|error| DataError::io(path, error));
        let output = match format {
            Format::Json => Output::Json(BufWriter::with_capacity(1 << 16, text(file)?)),
            Format::Csv => Output::CsvStart(Some(text(file)?)),
            Format::Parquet => Output::ParquetStart(Some(file)),
            Format::Arrow => unreachable!("refused above"),
        };
        Ok(RowWriter { path: path.to_owned(), file: atomic, output, columns: None, rows: 0 })
    }

    /// Begins the file with the columns of `example`, and in parquet with their types; none of its
    /// rows is written. Without this call the first chunk is the example, so it is for files that
    /// may have no row.
    ///
    /// # Errors
    /// As [`RowWriter::write`].
    ///
    /// # Panics
    /// When the file has begun before.
    pub fn begin(&mut self, example: &Rows) -> Result<(), DataError> {
        assert!(self.columns.is_none(), "{} has begun", self.path.display());
        self.start(example)?;
        let names = example.column_names();
        self.columns = Some(names.into_iter().map(str::to_owned).collect());
        Ok(())
    }

    /// Appends a chunk of rows. All chunks must have the same columns.
    ///
    /// # Errors
    /// When the columns differ from those of the first chunk, the disk is full, or a value cannot
    /// be represented in the format: in csv a list or a float that is not finite, in jsonl a float
    /// that is not finite, in parquet a value that is not of its column's type.
    pub fn write(&mut self, rows: &Rows) -> Result<(), DataError> {
        let names = rows.column_names();
        match &self.columns {
            None => self.begin(rows)?,
            Some(columns) if *columns != names => {
                let message = format!(
                    "expected rows with the columns {}, as in the first chunk, got rows with {}",
                    quoted_list(columns.iter().map(String::as_str)),
                    quoted_list(names.into_iter())
                );
                return Err(DataError::file(&self.path, message));
            }
            Some(_) => {}
        }
        let (path, rows_before) = (&self.path, self.rows);
        match &mut self.output {
            Output::Json(output) => write_json(output, rows, path, rows_before),
            Output::Csv(output) => write_csv(output, rows, path, rows_before),
            Output::CsvStart(_) | Output::ParquetStart(_) => {
                unreachable!("`start` replaced this state at the first chunk")
            }
            Output::Parquet(output, schema) => {
                write_parquet(output, schema, rows, path, rows_before)
            }
        }?;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Completes the file and renames it to its path.
    ///
    /// # Errors
    /// When the disk is full, or when no chunk was written to a csv or parquet file, whose columns
    /// are then unknown.
    pub fn finish(self) -> Result<(), DataError> {
        let path = self.path;
        let io = |error| DataError::io(&path, error);
        match self.output {
            Output::Json(output) => {
                let output = output.into_inner().map_err(|error| io(error.into_error()))?;
                output.finish().map_err(io)?;
            }
            Output::Csv(output) => {
                let output = output.into_inner().map_err(|error| io(error.into_error()))?;
                output.finish().map_err(io)?;
            }
            Output::Parquet(output, _) => {
                output.into_inner().map_err(|error| parquet_error(&path, error))?;
            }
            Output::CsvStart(_) | Output::ParquetStart(_) => {
                let message = "the input has no rows and names no columns, so this file would have \
                               none; select the columns, or write a .jsonl file";
                return Err(DataError::file(&path, message));
            }
        }
        Ok(self.file.commit()?)
    }

    /// Writes the csv header or the parquet schema, from the first chunk.
    fn start(&mut self, rows: &Rows) -> Result<(), DataError> {
        match &mut self.output {
            Output::CsvStart(file) => {
                let names = rows.column_names();
                let mut file = file.take().ok_or_else(|| failed(&self.path))?;
                if names.first().is_some_and(|name| name.starts_with(BYTE_ORDER_MARK)) {
                    // Without a mark before it, readers would take the character for the mark.
                    write!(file, "{BYTE_ORDER_MARK}")
                        .map_err(|error| DataError::io(&self.path, error))?;
                }
                let mut builder = csv::WriterBuilder::new();
                let mut output = builder.delimiter(delimiter(&self.path)).from_writer(file);
                output.write_record(names).map_err(|error| csv_error(&self.path, error))?;
                self.output = Output::Csv(Box::new(output));
                Ok(())
            }
            Output::ParquetStart(file) => {
                let schema = Arc::new(schema(rows)?);
                let file = file.take().ok_or_else(|| failed(&self.path))?;
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(1 << 17))
                    .build();
                let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
                    .map_err(|error| parquet_error(&self.path, error))?;
                self.output = Output::Parquet(Box::new(writer), schema);
                Ok(())
            }
            Output::Json(_) | Output::Csv(_) | Output::Parquet(..) => Ok(()),
        }
    }
}

fn failed(path: &Path) -> DataError {
    DataError::file(path, "writing its first rows has failed before")
}

const BYTE_ORDER_MARK: char = '\u{feff}';

fn write_json(
    output: &mut BufWriter<TextWriter>,
    rows: &Rows,
    path: &Path,
    rows_before: u64,
) -> Result<(), DataError> {
    let io = |error| DataError::io(path, error);
    let columns = rows.columns().iter().map(|(name, values)| {
        let key = serde_json::to_string(name).expect("every string can be written as JSON");
        (name, format!("{key}:"), values)
    });
    let columns: Vec<_> = columns.collect();
    let mut line = Vec::new();
    for row in 0..rows.len() {
        line.clear();
        for (index, (name, key, values)) in columns.iter().enumerate() {
            line.push(if index == 0 { b'{' } else { b',' });
            line.extend_from_slice(key.as_bytes());
            push_json(&values[row], &mut line).map_err(|message| {
                let message = format!("column `{name}`: {message}");
                DataError::row(path, rows_before + row as u64 + 1, message)
            })?;
        }
        line.extend_from_slice(b"}\n");
        output.write_all(&line).map_err(io)?;
    }
    Ok(())
}

/// Appends a value to a line of JSON. `Err` says why JSON cannot represent it.
fn push_json(value: &Value, line: &mut Vec<u8>) -> Result<(), String> {
    let written = match value {
        // Most values are texts; these need no copy.
        Value::Text(text) | Value::Untyped(text) => serde_json::to_writer(line, text),
        other => serde_json::to_writer(line, &to_json(other)?),
    };
    written.map_err(|error| error.to_string())
}

fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Text(text) | Value::Untyped(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => serde_json::Number::from_f64(*number)
            .map(Json::Number)
            .ok_or_else(|| format!("JSON cannot represent {number}: expected a finite number"))?,
        Value::Boolean(boolean) => Json::Bool(*boolean),
        Value::List(values) => Json::Array(values.iter().map(to_json).collect::<Result<_, _>>()?),
        Value::Unreadable(_) => return Err(format!("{} cannot be written", value.describe())),
    })
}

fn write_csv(
    output: &mut csv::Writer<TextWriter>,
    rows: &Rows,
    path: &Path,
    rows_before: u64,
) -> Result<(), DataError> {
    for row in 0..rows.len() {
        let mut cells = Vec::with_capacity(rows.columns().len());
        for (name, values) in rows.columns() {
            cells.push(match &values[row] {
                Value::Null => String::new(),
                Value::Text(text) | Value::Untyped(text) => text.clone(),
                Value::Integer(number) => number.to_string(),
                // The debug format is the shortest text that parses to the same float, and always
                // has a point or an exponent: 1.0, 1e300.
                Value::Float(number) if number.is_finite() => format!("{number:?}"),
                Value::Boolean(boolean) => boolean.to_string(),
                other => {
                    let others = match other {
                        Value::List(_) => "; write a .jsonl or .parquet file",
                        Value::Float(_) => "; write a .parquet file",
                        _ => "",
                    };
                    let value = other.describe();
                    let message = format!("column `{name}`: csv cannot represent {value}{others}");
                    return Err(DataError::row(path, rows_before + row as u64 + 1, message));
                }
            });
        }
        output.write_record(&cells).map_err(|error| csv_error(path, error))?;
    }
    Ok(())
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    let description = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::io(path, source),
        _ => DataError::file(path, format!("cannot be written as csv: {description}")),
    }
}

fn parquet_error(path: &Path, error: parquet::errors::ParquetError) -> DataError {
    DataError::file(path, format!("cannot be written as parquet: {error}"))
}

fn write_parquet(
    output: &mut ArrowWriter<File>,
    schema: &Arc<Schema>,
    rows: &Rows,
    path: &Path,
    rows_before: u64,
) -> Result<(), DataError> {
    if rows.is_empty() {
        return Ok(());
    }
    let array = |((name, values), field): (&(String, Vec<Value>), &Arc<Field>)| {
        to_array(values, field.data_type()).map_err(|(row, message)| {
            let message = format!("column `{name}`: {message}");
            DataError::row(path, rows_before + row as u64 + 1, message)
        })
    };
    let arrays = rows
        .columns()
        .iter()
        .zip(schema.fields())
        .map(array)
        .collect::<Result<Vec<_>, DataError>>()?;
    let batch = RecordBatch::try_new(schema.clone(), arrays)
        .map_err(|error| DataError::file(path, error.to_string()))?;
    output.write(&batch).map_err(|error| parquet_error(path, error))
}
