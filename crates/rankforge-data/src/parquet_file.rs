//! Parquet files. Columns of text, integers, floats, booleans or lists of these have values; the
//! cells of others, such as structs and timestamps, are unreadable.

use crate::chunk::Chunk;
use crate::error::DataError;
use crate::value::{LARGE_INTEGER, Value};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, FieldRef};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::any::Any;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

/// Reads the rows of one file.
pub(crate) struct ParquetFile {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    /// Names of all columns.
    names: Vec<String>,
    /// The chosen columns that the file has.
    chosen: Vec<FieldRef>,
    /// Number of rows that were returned so far.
    rows_before: u64,
}

impl ParquetFile {
    /// Opens a file. `None` as `chosen` chooses all columns; columns that it lacks are left out.
    /// Chunks have at most `max_rows` rows.
    pub(crate) fn open(
        path: &Path,
        chosen: Option<&[String]>,
        max_rows: usize,
    ) -> Result<ParquetFile, DataError> {
        ParquetFile::open_guarded(path, chosen, max_rows, None)
    }

    /// Opens a file at a row, to read `rows` rows.
    pub(crate) fn open_at(
        path: &Path,
        chosen: Option<&[String]>,
        row: u64,
        rows: usize,
    ) -> Result<ParquetFile, DataError> {
        ParquetFile::open_guarded(path, chosen, rows, Some(row))
    }

    /// Number of rows that were returned so far.
    pub(crate) fn rows_before(&self) -> u64 {
        self.rows_before
    }

    fn open_guarded(
        path: &Path,
        chosen: Option<&[String]>,
        max_rows: usize,
        first: Option<u64>,
    ) -> Result<ParquetFile, DataError> {
        catch_unwind(|| ParquetFile::open_unguarded(path, chosen, max_rows, first)).unwrap_or_else(
            |panic| {
                let message = format!("damaged: cannot be read as parquet: {}", reason(&*panic));
                Err(DataError::file(path, message))
            },
        )
    }

    /// [`ParquetFile::open`], which panics on some damaged files. With `first`, only `max_rows`
    /// rows from that one are read, and no row groups before it.
    fn open_unguarded(
        path: &Path,
        chosen: Option<&[String]>,
        max_rows: usize,
        first: Option<u64>,
    ) -> Result<ParquetFile, DataError> {
        let unreadable =
            |error| DataError::file(path, format!("cannot be read as parquet: {error}"));
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        // An Arrow schema in the metadata may ask for dictionaries and views. Without it the same
        // values are read as the plain types that `values` handles.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(unreadable)?;
        if let Some(first) = first {
            let groups = builder.metadata().row_groups();
            let (mut group, mut before) = (0, 0);
            while groups.get(group).is_some_and(|it| before + it.num_rows() as u64 <= first) {
                before += groups[group].num_rows() as u64;
                group += 1;
            }
            let left = (group..groups.len()).collect();
            let skipped = (first - before) as usize;
            builder = builder.with_row_groups(left).with_offset(skipped).with_limit(max_rows);
        }
        let fields = builder.schema().fields().clone();
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let is_repeated = |&index: &usize| names[..index].contains(&names[index]);
        if let Some(index) = (1..names.len()).find(is_repeated) {
            let message = format!("two columns are named `{}`", names[index]);
            return Err(DataError::file(path, message));
        }
        let field = |name| fields.iter().find(|field| field.name() == name).cloned();
        let chosen: Vec<FieldRef> = chosen.unwrap_or(&names).iter().filter_map(field).collect();
        let is_read = |field: &FieldRef| {
            chosen.contains(field) && unreadable_type(field.data_type()).is_none()
        };
        let indices = (0..fields.len()).filter(|&index| is_read(&fields[index]));
        let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
        let batches =
            builder.with_projection(mask).with_batch_size(max_rows).build().map_err(unreadable)?;
        Ok(ParquetFile { path: path.to_owned(), batches, names, chosen, rows_before: 0 })
    }

    /// Names of all columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The next chunk; `None` at the end of the file.
    pub(crate) fn next_rows(&mut self) -> Result<Option<Chunk>, DataError> {
        // After a panic, nothing more is read from this file.
        let rows = catch_unwind(AssertUnwindSafe(|| self.next_rows_unguarded()));
        rows.unwrap_or_else(|panic| {
            let (before, reason) = (self.rows_before, reason(&*panic));
            let message = format!("damaged: cannot be read after row {before}: {reason}");
            Err(DataError::file(&self.path, message))
        })
    }

    /// [`ParquetFile::next_rows`], which panics on some damaged files.
    fn next_rows_unguarded(&mut self) -> Result<Option<Chunk>, DataError> {
        let Some(batch) = self.batches.next() else { return Ok(None) };
        let batch = batch.map_err(|error| {
            let message = format!("cannot be read after row {}: {error}", self.rows_before);
            DataError::file(&self.path, message)
        })?;
        let rows = batch.num_rows();
        let column = |field: &FieldRef| {
            let values = match unreadable_type(field.data_type()) {
                Some(name) => vec![Value::Unreadable(name); rows],
                None => values(
                    batch
                        .column_by_name(field.name())
                        .expect("the projection contains every column that is read"),
                ),
            };
            (field.name().clone(), values)
        };
        let columns = self.chosen.iter().map(column).collect();
        self.rows_before += rows as u64;
        Ok(Some(Chunk { rows, columns }))
    }
}

/// The first line of a panic's message. The libraries check some lengths of a file only by
/// assertions.
fn reason(panic: &(dyn Any + Send)) -> &str {
    let message: &str = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(message), _) => message,
        (None, Some(message)) => message,
        (None, None) => "",
    };
    message.lines().next().unwrap_or("no reason given")
}

/// The name of a type whose arrays [`values`] does not handle.
fn unreadable_type(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Null
        | DataType::Boolean
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View => return None,
        DataType::List(item) | DataType::LargeList(item) => {
            match unreadable_type(item.data_type())? {
                "struct" => "list of structs",
                "timestamp" => "list of timestamps",
                "date" => "list of dates",
                "binary" => "list of binaries",
                _ => "list of other types",
            }
        }
        DataType::Struct(_) => "struct",
        DataType::Map(..) => "map",
        DataType::Timestamp(..) => "timestamp",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Duration(_) | DataType::Interval(_) => "duration",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "binary",
        other if other.is_decimal() => "decimal",
        other if other.is_integer() || other.is_floating() => return None,
        _ => "another type",
    })
}

/// The cells of an array.
fn values(array: &ArrayRef) -> Vec<Value> {
    fn cells<T>(
        cells: impl Iterator<Item = Option<T>>,
        value: impl Fn(T) -> Value + Copy,
    ) -> Vec<Value> {
        cells.map(|cell| cell.map_or(Value::Null, value)).collect()
    }
    fn integers<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<Value>
    where
        i64: From<T::Native>,
    {
        cells(array.as_primitive::<T>().iter(), |cell| Value::Integer(cell.into()))
    }
    fn floats<T: ArrowPrimitiveType>(array: &ArrayRef) -> Vec<Value>
    where
        f64: From<T::Native>,
    {
        cells(array.as_primitive::<T>().iter(), |cell| Value::Float(cell.into()))
    }
    let text = |cell: &str| Value::Text(cell.to_owned());
    let list = |items: ArrayRef| Value::list(values(&items));
    let large =
        |cell: u64| i64::try_from(cell).map_or(Value::Unreadable(LARGE_INTEGER), Value::Integer);
    match array.data_type() {
        DataType::Null => vec![Value::Null; array.len()],
        DataType::Boolean => cells(array.as_boolean().iter(), Value::Boolean),
        DataType::Int8 => integers::<Int8Type>(array),
        DataType::Int16 => integers::<Int16Type>(array),
        DataType::Int32 => integers::<Int32Type>(array),
        DataType::Int64 => integers::<Int64Type>(array),
        DataType::UInt8 => integers::<UInt8Type>(array),
        DataType::UInt16 => integers::<UInt16Type>(array),
        DataType::UInt32 => integers::<UInt32Type>(array),
        DataType::UInt64 => cells(array.as_primitive::<UInt64Type>().iter(), large),
        DataType::Float16 => floats::<Float16Type>(array),
        DataType::Float32 => floats::<Float32Type>(array),
        DataType::Float64 => floats::<Float64Type>(array),
        DataType::Utf8 => cells(array.as_string::<i32>().iter(), text),
        DataType::LargeUtf8 => cells(array.as_string::<i64>().iter(), text),
        DataType::Utf8View => cells(array.as_string_view().iter(), text),
        DataType::List(_) => cells(array.as_list::<i32>().iter(), list),
        DataType::LargeList(_) => cells(array.as_list::<i64>().iter(), list),
        other => unreachable!("a column of type {other} is not read"),
    }
}
