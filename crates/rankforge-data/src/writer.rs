use crate::splits::Format;
use crate::{DataError, Rows, Value};
use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde_json::Value as Json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::{NamedTempFile, TempPath};

/// Writes rows to `.jsonl`, `.csv`, `.tsv` or `.parquet`, under a temporary name until [`RowWriter::finish`].
///
/// In parquet the first chunk says what a column holds: text, integers, floats, truth values or lists of the first
/// three; a column without any value in it is one of text. In csv a missing value and an empty text are both an empty
/// cell.
pub struct RowWriter {
    path: PathBuf,
    temporary: TempPath,
    output: Output,
    columns: Option<Vec<String>>,
    rows: u64,
}

enum Output {
    Json(BufWriter<File>),
    Csv(Box<csv::Writer<File>>),
    /// The file waits for the first chunk, which makes the schema.
    ParquetStart(Option<File>),
    Parquet(Box<ArrowWriter<File>>, Arc<Schema>),
}

impl RowWriter {
    /// Starts a file; the extension says the format.
    ///
    /// # Errors
    /// An unknown extension, or a folder that cannot be written.
    pub fn create(path: &Path) -> Result<RowWriter, DataError> {
        let is_list =
            path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let Some(format) = Format::of(path).filter(|_| !is_list) else {
            let message = "cannot write this extension: expected .jsonl, .csv, .tsv or .parquet";
            return Err(DataError::file(path, message));
        };
        let (file, temporary) = temporary_beside(path)?.into_parts();
        let output = match format {
            Format::Json => Output::Json(BufWriter::with_capacity(1 << 16, file)),
            Format::Csv => {
                let delimiter = crate::csv_file::delimiter(path);
                Output::Csv(Box::new(
                    csv::WriterBuilder::new().delimiter(delimiter).from_writer(file),
                ))
            }
            Format::Parquet => Output::ParquetStart(Some(file)),
        };
        Ok(RowWriter { path: path.to_owned(), temporary, output, columns: None, rows: 0 })
    }

    /// Adds rows; all chunks have the same columns.
    ///
    /// # Errors
    /// When the disk is full, or a value has no form in the format (lists in csv, numbers that are not finite in
    /// jsonl, another kind than the first chunk's in parquet).
    pub fn write(&mut self, rows: &Rows) -> Result<(), DataError> {
        let names = rows.column_names();
        match &self.columns {
            None => {
                self.columns = Some(names.iter().map(|&name| name.to_owned()).collect());
                self.start(rows)?;
            }
            Some(columns) if *columns != names => {
                let message = format!(
                    "expected rows of {} as before, got rows of {}",
                    crate::error::list(columns.iter().map(String::as_str)),
                    crate::error::list(names.into_iter())
                );
                return Err(DataError::file(&self.path, message));
            }
            Some(_) => {}
        }
        let (path, rows_before) = (&self.path, self.rows);
        match &mut self.output {
            Output::Json(output) => write_json(output, rows, path, rows_before),
            Output::Csv(output) => write_csv(output, rows, path, rows_before),
            Output::ParquetStart(_) => unreachable!("the first chunk has made the schema"),
            Output::Parquet(output, schema) => {
                write_parquet(output, schema, rows, path, rows_before)
            }
        }?;
        self.rows += rows.len() as u64;
        Ok(())
    }

    /// Completes the file and gives it its name. Dropping the writer instead removes it.
    ///
    /// # Errors
    /// When the disk is full, or a parquet or csv file has got no chunk, so no columns.
    pub fn finish(self) -> Result<(), DataError> {
        let path = self.path;
        let io = |error| DataError::io(&path, error);
        let file = match self.output {
            Output::Json(output) => output.into_inner().map_err(|error| io(error.into_error()))?,
            Output::Csv(output) if self.columns.is_some() => {
                output.into_inner().map_err(|error| io(error.into_error()))?
            }
            Output::Parquet(output, _) => {
                output.into_inner().map_err(|error| parquet_error(&path, error))?
            }
            Output::Csv(_) | Output::ParquetStart(_) => {
                return Err(DataError::file(&path, "nothing was written, so there are no columns"));
            }
        };
        file.sync_all().map_err(io)?;
        self.temporary.persist(&path).map_err(|error| io(error.error))
    }

    /// Writes what comes before the first row.
    fn start(&mut self, rows: &Rows) -> Result<(), DataError> {
        match &mut self.output {
            Output::Csv(output) => output
                .write_record(rows.column_names())
                .map_err(|error| csv_error(&self.path, error)),
            Output::ParquetStart(file) => {
                let file = file.take().expect("the first chunk comes once");
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_max_row_group_row_count(Some(1 << 17))
                    .build();
                let schema = Arc::new(parquet_schema(rows)?);
                let writer = ArrowWriter::try_new(file, schema.clone(), Some(properties))
                    .map_err(|error| parquet_error(&self.path, error))?;
                self.output = Output::Parquet(Box::new(writer), schema);
                Ok(())
            }
            Output::Json(_) | Output::Parquet(..) => Ok(()),
        }
    }
}

/// A new file in the folder of `path`, with the access rights an ordinary new file has.
fn temporary_beside(path: &Path) -> Result<NamedTempFile, DataError> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    if path.is_dir() {
        return Err(DataError::file(path, "expected a file to write, got a folder"));
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".rankforge-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder).map_err(|error| DataError::io(path, error))
}

fn write_json(
    output: &mut BufWriter<File>,
    rows: &Rows,
    path: &Path,
    rows_before: u64,
) -> Result<(), DataError> {
    let io = |error| DataError::io(path, error);
    let columns = rows.columns().iter().map(|(name, values)| {
        let key = serde_json::to_string(name).expect("a text is JSON");
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

fn push_json(value: &Value, line: &mut Vec<u8>) -> Result<(), String> {
    let written = match value {
        // Straight from the text: most of a file is texts.
        Value::Text(text) => serde_json::to_writer(line, text),
        other => serde_json::to_writer(line, &to_json(other)?),
    };
    written.map_err(|error| error.to_string())
}

fn to_json(value: &Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Text(text) => Json::String(text.clone()),
        Value::Integer(number) => Json::from(*number),
        Value::Float(number) => serde_json::Number::from_f64(*number)
            .map(Json::Number)
            .ok_or_else(|| format!("JSON has no number {number}"))?,
        Value::Boolean(truth) => Json::Bool(*truth),
        Value::List(values) => Json::Array(values.iter().map(to_json).collect::<Result<_, _>>()?),
    })
}

fn write_csv(
    output: &mut csv::Writer<File>,
    rows: &Rows,
    path: &Path,
    rows_before: u64,
) -> Result<(), DataError> {
    for row in 0..rows.len() {
        let mut cells = Vec::with_capacity(rows.columns().len());
        for (name, values) in rows.columns() {
            cells.push(match &values[row] {
                Value::Null => String::new(),
                Value::Text(text) => text.clone(),
                Value::Integer(number) => number.to_string(),
                // The debug form is the shortest that reads back as the same float: 1.0, 1e300.
                Value::Float(number) if number.is_finite() => format!("{number:?}"),
                Value::Boolean(truth) => truth.to_string(),
                other => {
                    let message = format!(
                        "column `{name}`: csv cannot hold {}; write .jsonl or .parquet",
                        other.shown()
                    );
                    return Err(DataError::row(path, rows_before + row as u64 + 1, message));
                }
            });
        }
        output.write_record(&cells).map_err(|error| csv_error(path, error))?;
    }
    Ok(())
}

fn csv_error(path: &Path, error: csv::Error) -> DataError {
    match error.into_kind() {
        csv::ErrorKind::Io(source) => DataError::io(path, source),
        other => DataError::file(path, format!("not writable as csv: {other:?}")),
    }
}

fn parquet_error(path: &Path, error: parquet::errors::ParquetError) -> DataError {
    DataError::file(path, format!("not writable as parquet: {error}"))
}

/// The schema that holds every value of the chunk.
fn parquet_schema(rows: &Rows) -> Result<Schema, DataError> {
    let field = |(name, values): &(String, Vec<Value>)| {
        let mut kind: Option<DataType> = None;
        for value in values {
            kind = join(kind, value).map_err(|message| DataError::column(name, message))?;
        }
        let kind = match kind {
            None | Some(DataType::Null) => DataType::Utf8,
            Some(DataType::List(item)) if item.data_type().is_null() => list_of(DataType::Utf8),
            Some(kind) => kind,
        };
        Ok(Field::new(name, kind, true))
    };
    Ok(Schema::new(rows.columns().iter().map(field).collect::<Result<Vec<_>, DataError>>()?))
}

/// The type that holds what `kind` holds and the value too; whole numbers become floats beside floats.
fn join(kind: Option<DataType>, value: &Value) -> Result<Option<DataType>, String> {
    let new = match value {
        Value::Null => return Ok(kind),
        Value::Text(_) => DataType::Utf8,
        Value::Integer(_) => DataType::Int64,
        Value::Float(_) => DataType::Float64,
        Value::Boolean(_) => DataType::Boolean,
        Value::List(values) => {
            let mut item = match &kind {
                Some(DataType::List(item)) => {
                    Some(item.data_type().clone()).filter(|item| !item.is_null())
                }
                _ => None,
            };
            for value in values {
                item = join(item, value)?;
            }
            if matches!(item, Some(DataType::List(_) | DataType::Boolean)) {
                return Err("parquet files of ours hold lists of text and numbers only".to_owned());
            }
            list_of(item.unwrap_or(DataType::Null))
        }
    };
    match (kind, new) {
        (None, new) => Ok(Some(new)),
        (Some(DataType::List(_)), new @ DataType::List(_)) => Ok(Some(new)),
        (Some(old), new) if old == new => Ok(Some(new)),
        (Some(DataType::Int64), DataType::Float64) | (Some(DataType::Float64), DataType::Int64) => {
            Ok(Some(DataType::Float64))
        }
        (Some(old), _) => {
            Err(format!("expected {old} as in the rows before, got {}", value.shown()))
        }
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
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

/// One column as an array of a schema's type, or the row (from 0) that does not fit it.
fn to_array(values: &[Value], kind: &DataType) -> Result<ArrayRef, (usize, String)> {
    Ok(match kind {
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            cells(values, as_text, |cell| builder.append_option(cell))?;
            Arc::new(builder.finish())
        }
        DataType::Int64 => {
            let mut builder = Int64Builder::new();
            cells(values, as_integer, |cell| builder.append_option(cell))?;
            Arc::new(builder.finish())
        }
        DataType::Float64 => {
            let mut builder = Float64Builder::new();
            cells(values, as_float, |cell| builder.append_option(cell))?;
            Arc::new(builder.finish())
        }
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            cells(values, as_boolean, |cell| builder.append_option(cell))?;
            Arc::new(builder.finish())
        }
        DataType::List(item) => to_list_array(values, item)?,
        other => unreachable!("no schema of ours holds {other}"),
    })
}

fn to_list_array(values: &[Value], item: &Arc<Field>) -> Result<ArrayRef, (usize, String)> {
    macro_rules! lists {
        ($builder:expr, $as_item:expr) => {{
            let mut builder = ListBuilder::new($builder).with_field(item.clone());
            for (row, value) in values.iter().enumerate() {
                match value {
                    Value::Null => builder.append_null(),
                    Value::List(items) => {
                        let inner = builder.values();
                        cells(items, $as_item, |cell| inner.append_option(cell))
                            .map_err(|(_, message)| (row, message))?;
                        builder.append(true);
                    }
                    other => {
                        return Err((
                            row,
                            format!("expected a list as in the rows before, got {}", other.shown()),
                        ));
                    }
                }
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    match item.data_type() {
        DataType::Utf8 => lists!(StringBuilder::new(), as_text),
        DataType::Int64 => lists!(Int64Builder::new(), as_integer),
        DataType::Float64 => lists!(Float64Builder::new(), as_float),
        other => unreachable!("no schema of ours holds lists of {other}"),
    }
}

/// Hands over each cell as the type of its column; `Err` is its row and what was expected.
fn cells<'a, T>(
    values: &'a [Value],
    convert: impl Fn(&'a Value) -> Result<T, &'static str>,
    mut append: impl FnMut(Option<T>),
) -> Result<(), (usize, String)> {
    for (row, value) in values.iter().enumerate() {
        append(match value {
            Value::Null => None,
            value => Some(convert(value).map_err(|expected| {
                (row, format!("expected {expected} as in the rows before, got {}", value.shown()))
            })?),
        });
    }
    Ok(())
}

fn as_text(value: &Value) -> Result<&str, &'static str> {
    match value {
        Value::Text(text) => Ok(text),
        _ => Err("text"),
    }
}

fn as_integer(value: &Value) -> Result<i64, &'static str> {
    match value {
        Value::Integer(number) => Ok(*number),
        _ => Err("an integer"),
    }
}

fn as_float(value: &Value) -> Result<f64, &'static str> {
    match value {
        Value::Float(number) => Ok(*number),
        // Beyond 2^53 neighbouring integers are the same float.
        Value::Integer(number) if number.unsigned_abs() <= 1 << 53 => Ok(*number as f64),
        _ => Err("a float"),
    }
}

fn as_boolean(value: &Value) -> Result<bool, &'static str> {
    match value {
        Value::Boolean(truth) => Ok(*truth),
        _ => Err("a truth value"),
    }
}
