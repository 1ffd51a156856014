//! Columns of rows as Arrow arrays, for writing parquet files.

use crate::error::DataError;
use crate::rows::Rows;
use crate::value::Value;
use arrow_array::ArrayRef;
use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, ListBuilder, StringBuilder,
};
use arrow_schema::{DataType, Field, Schema};
use std::sync::Arc;

/// The schema of the narrowest types that hold every value of `rows`.
///
/// A column without any value becomes one of text; lists without any item become lists of text.
///
/// # Errors
/// When a column mixes types other than integers and floats, or has lists of booleans or of lists.
pub(crate) fn schema(rows: &Rows) -> Result<Schema, DataError> {
    let field = |(name, values): &(String, Vec<Value>)| {
        let mut data_type: Option<DataType> = None;
        for value in values {
            data_type =
                widened(data_type, value).map_err(|message| DataError::column(name, message))?;
        }
        let data_type = match data_type {
            None | Some(DataType::Null) => DataType::Utf8,
            Some(DataType::List(item)) if item.data_type().is_null() => list_of(DataType::Utf8),
            Some(data_type) => data_type,
        };
        Ok(Field::new(name, data_type, true))
    };
    Ok(Schema::new(rows.columns().iter().map(field).collect::<Result<Vec<_>, DataError>>()?))
}

/// The type that holds the values of `current` and also `value`. Integers and floats together are
/// floats. `None` and a list of `Null` are the types of no value and of lists without any item.
fn widened(current: Option<DataType>, value: &Value) -> Result<Option<DataType>, String> {
    let new = match value {
        Value::Null => return Ok(current),
        Value::Text(_) | Value::Untyped(_) => DataType::Utf8,
        Value::Integer(_) => DataType::Int64,
        Value::Float(_) => DataType::Float64,
        Value::Boolean(_) => DataType::Boolean,
        Value::List(values) => {
            let mut item = match &current {
                Some(DataType::List(item)) => {
                    Some(item.data_type().clone()).filter(|item| !item.is_null())
                }
                _ => None,
            };
            for value in values {
                item = widened(item, value)?;
            }
            if matches!(item, Some(DataType::List(_) | DataType::Boolean)) {
                return Err("only lists of text and numbers can be written as parquet".to_owned());
            }
            list_of(item.unwrap_or(DataType::Null))
        }
        Value::Unreadable(_) => return Err(format!("{} cannot be written", value.describe())),
    };
    match (current, new) {
        (None, new) => Ok(Some(new)),
        (Some(DataType::List(_)), new @ DataType::List(_)) => Ok(Some(new)),
        (Some(old), new) if old == new => Ok(Some(new)),
        (Some(DataType::Int64), DataType::Float64) | (Some(DataType::Float64), DataType::Int64) => {
            Ok(Some(DataType::Float64))
        }
        (Some(old), _) => Err(unexpected(type_name(&old), value)),
    }
}

/// The name of a column type in messages.
fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 => "text",
        DataType::Int64 => "an integer",
        DataType::Float64 => "a float",
        DataType::Boolean => "a boolean",
        DataType::List(_) => "a list",
        other => unreachable!("no column is written as {other}"),
    }
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", item, true)))
}

/// The values of a column as an array of a type that [`schema`] gave. `Err` is a row (from 0) whose
/// value is not of that type, and why.
pub(crate) fn to_array(
    values: &[Value],
    data_type: &DataType,
) -> Result<ArrayRef, (usize, String)> {
    Ok(match data_type {
        DataType::Utf8 => {
            let mut builder = StringBuilder::new();
            append_values(values, as_text, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Int64 => {
            let mut builder = Int64Builder::new();
            append_values(values, as_integer, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Float64 => {
            let mut builder = Float64Builder::new();
            append_values(values, as_float, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::Boolean => {
            let mut builder = BooleanBuilder::new();
            append_values(values, as_boolean, |value| builder.append_option(value))?;
            Arc::new(builder.finish())
        }
        DataType::List(item) => to_list_array(values, item)?,
        other => unreachable!("no column is written as {other}"),
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
                        append_values(items, $as_item, |item| inner.append_option(item))
                            .map_err(|(_, message)| (row, message))?;
                        builder.append(true);
                    }
                    other => return Err((row, unexpected("a list", other))),
                }
            }
            Ok(Arc::new(builder.finish()))
        }};
    }
    match item.data_type() {
        DataType::Utf8 => lists!(StringBuilder::new(), as_text),
        DataType::Int64 => lists!(Int64Builder::new(), as_integer),
        DataType::Float64 => lists!(Float64Builder::new(), as_float),
        other => unreachable!("no column is written as lists of {other}"),
    }
}

/// Passes each value, converted to the type of its column, to `append`; `None` for null. `Err` of
/// `convert` is the name of the expected type.
fn append_values<'a, T>(
    values: &'a [Value],
    convert: impl Fn(&'a Value) -> Result<T, &'static str>,
    mut append: impl FnMut(Option<T>),
) -> Result<(), (usize, String)> {
    for (row, value) in values.iter().enumerate() {
        append(match value {
            Value::Null => None,
            value => Some(convert(value).map_err(|expected| (row, unexpected(expected, value)))?),
        });
    }
    Ok(())
}

fn unexpected(expected: &str, value: &Value) -> String {
    format!("expected {expected}, as in earlier rows, got {}", value.describe())
}

fn as_text(value: &Value) -> Result<&str, &'static str> {
    value.as_text().ok_or("text")
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
        // Beyond 2^53 not every integer is representable as an f64.
        Value::Integer(number) if number.unsigned_abs() <= 1 << 53 => Ok(*number as f64),
        _ => Err("a float"),
    }
}

fn as_boolean(value: &Value) -> Result<bool, &'static str> {
    match value {
        Value::Boolean(boolean) => Ok(*boolean),
        _ => Err("a boolean"),
    }
}
