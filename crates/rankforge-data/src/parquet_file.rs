//! Parquet files with columns of text, integers, floats, booleans or lists of these.

use crate::error::DataError;
use crate::rows::{Rows, Value};
use crate::selection::Selection;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Reads the rows of one file.
pub(crate) struct ParquetFile {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    /// Names of the selected columns.
    columns: Vec<String>,
    /// Number of rows that were returned so far.
    rows_before: u64,
}

impl ParquetFile {
    /// Opens a file; no `selection` selects all columns. Chunks have at most `max_rows` rows.
    pub(crate) fn open(
        path: &Path,
        selection: Option<&Selection>,
        max_rows: usize,
    ) -> Result<ParquetFile, DataError> {
        let unreadable =
            |error| DataError::file(path, format!("cannot be read as parquet: {error}"));
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        // An Arrow schema in the metadata may ask for dictionaries and views. Without it the same
        // values are read as the plain types that `values` handles.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(unreadable)?;
        let fields = builder.schema().fields().clone();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        let is_repeated = |&index: &usize| names[..index].contains(&names[index]);
        if let Some(index) = (1..names.len()).find(is_repeated) {
            let message = format!("two columns are named `{}`", names[index]);
            return Err(DataError::file(path, message));
        }
        let columns: Vec<String> = match selection {
            None => names.iter().map(|&name| name.to_owned()).collect(),
            Some(selection) => {
                selection.check(path, &names)?;
                selection.columns.clone()
            }
        };
        let mut indices = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            if !columns.contains(field.name()) {
                continue;
            }
            indices.push(index);
            if !is_supported(field.data_type()) {
                let message = format!(
                    "column `{}`: expected text, numbers, booleans or lists of these, got {}; to \
                     skip this column, select the columns to read",
                    field.name(),
                    field.data_type()
                );
                return Err(DataError::file(path, message));
            }
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
        let batches =
            builder.with_projection(mask).with_batch_size(max_rows).build().map_err(unreadable)?;
        Ok(ParquetFile { path: path.to_owned(), batches, columns, rows_before: 0 })
    }

    /// Names of the selected columns.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next chunk; `None` at the end of the file.
    pub(crate) fn next_rows(&mut self) -> Result<Option<Rows>, DataError> {
        let Some(batch) = self.batches.next() else { return Ok(None) };
        let batch = batch.map_err(|error| {
            let message = format!("cannot be read after row {}: {error}", self.rows_before);
            DataError::file(&self.path, message)
        })?;
        let column = |name: &String| {
            let array =
                batch.column_by_name(name).expect("the projection contains every selected column");
            let values = values(array).map_err(|(row, message)| {
                let row = self.rows_before + row as u64 + 1;
                DataError::row(&self.path, row, format!("column `{name}`: {message}"))
            })?;
            Ok((name.clone(), values))
        };
        let columns = self.columns.iter().map(column).collect::<Result<_, DataError>>()?;
        self.rows_before += batch.num_rows() as u64;
        Rows::new(columns).map(Some)
    }
}

/// Whether [`values`] handles arrays of this type.
fn is_supported(data_type: &DataType) -> bool {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) => is_supported(item.data_type()),
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The cells of an array. `Err` is a row (from 0) whose value no cell can hold, and why.
fn values(array: &ArrayRef) -> Result<Vec<Value>, (usize, String)> {
    fn integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<Value>
    where
        i64: From<T::Native>,
    {
        let cell =
            |cell: Option<T::Native>| cell.map_or(Value::Null, |it| Value::Integer(it.into()));
        array.as_primitive::<T>().iter().map(cell).collect()
    }
    fn floats<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<Value>
    where
        f64: From<T::Native>,
    {
        let cell = |cell: Option<T::Native>| cell.map_or(Value::Null, |it| Value::Float(it.into()));
        array.as_primitive::<T>().iter().map(cell).collect()
    }
    fn text(cell: Option<&str>) -> Value {
        cell.map_or(Value::Null, |it| Value::Text(it.to_owned()))
    }
    fn lists(items: impl Iterator<Item = Option<ArrayRef>>) -> Result<Vec<Value>, (usize, String)> {
        let cell = |(row, cell): (usize, Option<ArrayRef>)| match cell {
            None => Ok(Value::Null),
            Some(items) => values(&items).map(Value::List).map_err(|(_, message)| (row, message)),
        };
        items.enumerate().map(cell).collect()
    }
    Ok(match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => {
            let cell = |cell: Option<bool>| cell.map_or(Value::Null, Value::Boolean);
            array.as_boolean().iter().map(cell).collect()
        }
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::Int64 => integers::<Int64Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => {
            let cell = |(row, cell): (usize, Option<u64>)| match cell.map(i64::try_from) {
                None => Ok(Value::Null),
                Some(Ok(number)) => Ok(Value::Integer(number)),
                Some(Err(_)) => {
                    Err((row, "expected a signed 64-bit integer, got a larger one".to_owned()))
                }
            };
            array
                .as_primitive::<UInt64Type>()
                .iter()
                .enumerate()
                .map(cell)
                .collect::<Result<_, _>>()?
        }
        DataType::Float16 => floats::<Float16Type>(array),
        DataType::Float32 => floats::<Float32Type>(array),
        DataType::Float64 => floats::<Float64Type>(array),
        DataType::Utf8 => array.as_string::<i32>().iter().map(text).collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().map(text).collect(),
        DataType::Utf8View => array.as_string_view().iter().map(text).collect(),
        DataType::List(_) => lists(array.as_list::<i32>().iter())?,
        DataType::LargeList(_) => lists(array.as_list::<i64>().iter())?,
        other => unreachable!("a column of type {other} was refused when the file was opened"),
    })
}
