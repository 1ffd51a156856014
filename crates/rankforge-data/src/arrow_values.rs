//! The cells of Arrow arrays, as parquet and Arrow files have them. Columns of text, integers,
//! floats, booleans or lists of these have values; the cells of others, such as structs and
//! timestamps, are unreadable.

use crate::chunk::Chunk;
use crate::error::DataError;
use crate::value::{LARGE_INTEGER, Value};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, FieldRef, Fields};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

/// The columns of a file, and those of them that are read.
pub(crate) struct Selection {
    /// Names of all columns.
    pub(crate) names: Vec<String>,
    /// The chosen columns that the file has.
    pub(crate) chosen: Vec<FieldRef>,
    /// The places of those with values among all, in the order of the file.
    pub(crate) indices: Vec<usize>,
}

impl Selection {
    /// `None` as `chosen` chooses all columns; columns that the file lacks are left out.
    ///
    /// # Errors
    /// Two columns of one name.
    pub(crate) fn new(
        path: &Path,
        fields: &Fields,
        chosen: Option<&[String]>,
    ) -> Result<Selection, DataError> {
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
        let indices = (0..fields.len()).filter(|&index| is_read(&fields[index])).collect();
        Ok(Selection { names, chosen, indices })
    }
}

/// The rows of a batch that has the columns of a [`Selection`] with values.
pub(crate) fn chunk(batch: &RecordBatch, chosen: &[FieldRef]) -> Chunk {
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
    Chunk { rows, columns: chosen.iter().map(column).collect() }
}

/// Runs `work`, which panics on some damaged files: the libraries check some lengths only by
/// assertions.
///
/// # Errors
/// Those of `work`; for a panic, what `damaged` says with the reason.
pub(crate) fn guarded<T>(
    path: &Path,
    damaged: impl FnOnce() -> String,
    work: impl FnOnce() -> Result<T, DataError>,
) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let message = format!("{}: {}", damaged(), reason(&*panic));
        Err(DataError::file(path, message))
    })
}

/// The first line of a panic's message.
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
        DataType::Dictionary(_, value) => return unreadable_type(value),
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
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
fn values(array: &dyn Array) -> Vec<Value> {
    fn cells<T>(
        cells: impl Iterator<Item = Option<T>>,
        value: impl Fn(T) -> Value + Copy,
    ) -> Vec<Value> {
        cells.map(|cell| cell.map_or(Value::Null, value)).collect()
    }
    fn integers<T: ArrowPrimitiveType>(array: &dyn Array) -> Vec<Value>
    where
        i64: From<T::Native>,
    {
        cells(array.as_primitive::<T>().iter(), |cell| Value::Integer(cell.into()))
    }
    fn floats<T: ArrowPrimitiveType>(array: &dyn Array) -> Vec<Value>
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
        DataType::FixedSizeList(..) => cells(array.as_fixed_size_list().iter(), list),
        DataType::Dictionary(..) => {
            let array = array.as_any_dictionary();
            let entries = values(array.values());
            let cell = |key| match key {
                Value::Integer(key) => entries[key as usize].clone(),
                _ => Value::Null,
            };
            values(array.keys()).into_iter().map(cell).collect()
        }
        other => unreachable!("a column of type {other} is not read"),
    }
}
