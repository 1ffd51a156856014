//! Parquet files: text, whole numbers, numbers, truth values and lists of these.

use crate::reader::Wanted;
use crate::{DataError, Rows, Value};
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

/// Rows of one file, a batch at a time.
pub(crate) struct ParquetFile {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    wanted: Vec<String>,
    rows_before: u64,
}

impl ParquetFile {
    pub(crate) fn open(
        path: &Path,
        wanted: Option<&Wanted>,
        most: usize,
    ) -> Result<ParquetFile, DataError> {
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        // Arrow's own schema in the metadata would bring dictionaries and views; the plain types hold the same values.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(|error| {
                DataError::file(path, format!("not a readable parquet file: {error}"))
            })?;
        let fields = builder.schema().fields().clone();
        let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
        if let Some(index) = (1..names.len()).find(|&index| names[..index].contains(&names[index]))
        {
            return Err(DataError::file(
                path,
                format!("two columns are called `{}`", names[index]),
            ));
        }
        let wanted = match wanted {
            None => names.iter().map(|&name| name.to_owned()).collect(),
            Some(wanted) => {
                wanted.check(path, &names)?;
                wanted.columns.clone()
            }
        };
        let mut places = Vec::new();
        for (place, field) in fields.iter().enumerate() {
            if !wanted.contains(field.name()) {
                continue;
            }
            places.push(place);
            if !supported(field.data_type()) {
                let message = format!(
                    "column `{}`: expected text, numbers, truth values or lists of these, got {}; \
                     choose columns to leave it out",
                    field.name(),
                    field.data_type()
                );
                return Err(DataError::file(path, message));
            }
        }
        let mask = ProjectionMask::roots(builder.parquet_schema(), places);
        let batches =
            builder.with_projection(mask).with_batch_size(most).build().map_err(|error| {
                DataError::file(path, format!("not a readable parquet file: {error}"))
            })?;
        Ok(ParquetFile { path: path.to_owned(), batches, wanted, rows_before: 0 })
    }

    pub(crate) fn columns(&self) -> &[String] {
        &self.wanted
    }

    pub(crate) fn next_rows(&mut self) -> Result<Option<Rows>, DataError> {
        let Some(batch) = self.batches.next() else { return Ok(None) };
        let batch = batch.map_err(|error| {
            let message = format!("damaged after row {}: {error}", self.rows_before);
            DataError::file(&self.path, message)
        })?;
        let column = |name: &String| {
            let array =
                batch.column_by_name(name).expect("the projection holds every wanted column");
            let values = values(array).map_err(|(row, message)| {
                let row = self.rows_before + row as u64 + 1;
                DataError::row(&self.path, row, format!("column `{name}`: {message}"))
            })?;
            Ok((name.clone(), values))
        };
        let columns = self.wanted.iter().map(column).collect::<Result<_, DataError>>()?;
        self.rows_before += batch.num_rows() as u64;
        Rows::new(columns).map(Some)
    }
}

fn supported(kind: &DataType) -> bool {
    match kind {
        DataType::List(item) | DataType::LargeList(item) => supported(item.data_type()),
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => true,
        other => other.is_integer() || other.is_floating(),
    }
}

/// The cells of an array, or the row (from 0) that has no form here.
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
                    Err((row, "the whole number does not fit 64 bits with sign".to_owned()))
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
        other => unreachable!("{other} was refused when the file was opened"),
    })
}
