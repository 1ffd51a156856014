/// The value of one cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A missing value.
    Null,
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// A boolean.
    Boolean(bool),
    /// A list of values, of the same or different types.
    List(Vec<Value>),
    /// A cell of a csv file, whose format has no types. The role of its column decides: "1984" is a
    /// text among texts and a number among labels; an empty cell is an empty text among texts and
    /// missing elsewhere.
    Untyped(String),
    /// A value that cannot be read, with the name of its type: an object, a timestamp. It is an
    /// error only where the value is used.
    Unreadable(&'static str),
}

/// The type of integers that are read but do not fit [`Value::Integer`].
pub(crate) const LARGE_INTEGER: &str = "integer above 9223372036854775807";

impl Value {
    /// The type and the (shortened) value, for messages: `integer 7`, `text "What is..."`.
    pub fn describe(&self) -> String {
        match self {
            Value::Null => "null, or no such column in this row".to_owned(),
            Value::Untyped(cell) if cell.is_empty() => "an empty cell".to_owned(),
            Value::Text(text) | Value::Untyped(text) => format!("text {}", quoted(text)),
            Value::Integer(number) => format!("integer {number}"),
            Value::Float(number) => format!("float {number}"),
            Value::Boolean(boolean) => format!("boolean {boolean}"),
            Value::List(values) => format!("a list of length {}", values.len()),
            Value::Unreadable(name) => format!("a value of type {name}"),
        }
    }

    /// The value as a text; `None` when it is of another type.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) | Value::Untyped(text) => Some(text),
            _ => None,
        }
    }

    /// The value as a finite number; `None` when it is none. False and true are 0 and 1.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Value::Integer(number) => Some(*number as f64),
            Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
            Value::Boolean(boolean) => Some(f64::from(u8::from(*boolean))),
            Value::Untyped(cell) => match cell.trim() {
                "true" | "True" => Some(1.0),
                "false" | "False" => Some(0.0),
                cell => cell.parse().ok().filter(|number: &f64| number.is_finite()),
            },
            _ => None,
        }
    }

    /// Whether there is no value: null, or an empty cell of a csv file.
    pub fn is_missing(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Untyped(cell) => cell.is_empty(),
            _ => false,
        }
    }

    /// A list of values; unreadable as a whole when one of them is.
    pub(crate) fn list(values: Vec<Value>) -> Value {
        let name = values.iter().find_map(|value| match value {
            Value::Unreadable("object") => Some("list of objects"),
            Value::Unreadable(LARGE_INTEGER) => Some("list of integers above 9223372036854775807"),
            Value::Unreadable(_) => Some("list of other types"),
            _ => None,
        });
        name.map_or(Value::List(values), Value::Unreadable)
    }

    /// The value of the narrowest type that holds a cell of a csv file: null, an integer, a float
    /// or a text. Any other value is returned as it is.
    pub fn narrowed(self) -> Value {
        let Value::Untyped(cell) = self else { return self };
        if cell.is_empty() {
            return Value::Null;
        }
        let digits = cell.strip_prefix('-').unwrap_or(&cell);
        let is_digit = |byte: u8| byte.is_ascii_digit();
        // As a number, an identifier such as 007 would lose its leading zeros.
        let leading_zero =
            digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(|byte| is_digit(*byte));
        // Rust parses "nan" and "infinity" as floats; among texts they are words.
        let numeric = digits.bytes().all(|byte| is_digit(byte) || b".eE+-".contains(&byte))
            && digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
        if leading_zero || !numeric {
            return Value::Text(cell);
        }
        if digits.bytes().all(is_digit) {
            return cell.parse().map_or(Value::Text(cell), Value::Integer);
        }
        match cell.parse::<f64>() {
            Ok(number) if number.is_finite() => Value::Float(number),
            _ => Value::Text(cell),
        }
    }
}

/// The first 40 characters of a text in quotes, for messages.
pub(crate) fn quoted(text: &str) -> String {
    let start = first_characters(text);
    format!("{start:?}")
}

/// The first 40 characters of a text, as they are.
pub(crate) fn first_characters(text: &str) -> String {
    let mut start: String = text.chars().take(40).collect();
    if start.len() < text.len() {
        start.push_str("...");
    }
    start
}
