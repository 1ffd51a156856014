use crate::error::DataError;
use crate::rows::Rows;
use crate::value::Value;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A condition on one column: `score >= 0.5`, `source != squad`, `answer contains river`,
/// `length(answer) < 2000`.
///
/// `=` and `!=` compare texts, or numbers where the cell is one; a missing cell equals an empty
/// value. `<`, `<=`, `>` and `>=` compare numbers. `length(column)` is the number of characters of
/// a text, or of items of a list. A missing cell fulfils no condition but `=` with an empty value
/// and `!=` with another.
///
/// It is serialised as its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    text: String,
    column: String,
    /// Whether the length of the cell is compared.
    of_length: bool,
    comparison: Comparison,
    value: String,
    /// The value as a number, if it is one.
    number: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Equal,
    Unequal,
    Below,
    AtMost,
    Above,
    AtLeast,
    Contains,
}

/// The comparisons by what stands for them; those that begin others come after these.
const COMPARISONS: [(&str, Comparison); 7] = [
    ("!=", Comparison::Unequal),
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("=", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
    (" contains ", Comparison::Contains),
];

impl FromStr for Condition {
    type Err = String;

    /// # Errors
    /// What was expected, where the text is no condition, or compares the order of what is no
    /// number.
    fn from_str(text: &str) -> Result<Condition, String> {
        let found = COMPARISONS.iter().filter_map(|(sign, comparison)| {
            let at = text.find(sign)?;
            Some((at, *sign, *comparison))
        });
        // The first sign, and of those that begin there the longest.
        let first = found.min_by_key(|(at, sign, _)| (*at, std::cmp::Reverse(sign.len())));
        let expected = "expected COLUMN and one of =, !=, <, <=, >, >= and contains, and a value";
        let (at, sign, comparison) = first.ok_or(expected)?;
        let (column, value) = (text[..at].trim(), text[at + sign.len()..].trim());
        let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"')).unwrap_or(value);
        let inner = column.strip_prefix("length(").and_then(|column| column.strip_suffix(')'));
        let column = inner.unwrap_or(column).trim();
        if column.is_empty() {
            return Err(expected.to_owned());
        }
        let number = Value::Untyped(value.to_owned()).as_number();
        let compares_text = match comparison {
            Comparison::Contains => true,
            Comparison::Equal | Comparison::Unequal => inner.is_none(),
            _ => false,
        };
        if (inner.is_some() && comparison == Comparison::Contains)
            || (!compares_text && number.is_none())
        {
            return Err(format!("expected a number to compare with, got \"{value}\""));
        }
        Ok(Condition {
            text: text.to_owned(),
            column: column.to_owned(),
            of_length: inner.is_some(),
            comparison,
            value: value.to_owned(),
            number,
        })
    }
}

impl TryFrom<String> for Condition {
    type Error = String;

    fn try_from(text: String) -> Result<Condition, String> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> String {
        condition.text
    }
}

/// The text that the condition was read from.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Condition {
    /// The column whose cells are compared.
    pub fn column(&self) -> &str {
        &self.column
    }

    /// The rows, in order, that fulfil all conditions.
    ///
    /// # Errors
    /// Those of [`Condition::holds`].
    pub fn all_hold(conditions: &[Condition], rows: &Rows) -> Result<Vec<usize>, DataError> {
        let mut kept: Vec<usize> = (0..rows.len()).collect();
        for condition in conditions {
            let holds = condition.holds(rows)?;
            kept.retain(|row| holds[*row]);
        }
        Ok(kept)
    }

    /// Whether each row fulfils the condition.
    ///
    /// # Errors
    /// A missing column, or a cell that cannot be compared so.
    pub fn holds(&self, rows: &Rows) -> Result<Vec<bool>, DataError> {
        let cells = rows.column(&self.column)?.iter().enumerate();
        let holds = |(row, cell): (usize, &Value)| {
            self.of(cell).map_err(|expected| DataError::Cell {
                path: rows.source().map(Into::into),
                column: self.column.clone(),
                row: row + 1,
                expected: expected.to_owned(),
                got: cell.describe(),
            })
        };
        cells.map(holds).collect()
    }

    /// Whether a cell fulfils the condition, or what was expected.
    fn of(&self, cell: &Value) -> Result<bool, &'static str> {
        let is_equality = matches!(self.comparison, Comparison::Equal | Comparison::Unequal);
        if cell.is_missing() && !self.of_length && is_equality {
            return Ok(self.value.is_empty() == (self.comparison == Comparison::Equal));
        }
        if cell.is_missing() {
            return Ok(false);
        }
        if self.of_length {
            let length = match cell {
                Value::List(items) => items.len(),
                cell => cell.as_text().ok_or("text or a list")?.chars().count(),
            };
            return Ok(self.compare(length as f64));
        }
        if self.comparison == Comparison::Contains {
            return Ok(cell.as_text().ok_or("text")?.contains(&self.value));
        }
        if is_equality && (self.number.is_none() || matches!(cell, Value::Text(_))) {
            // A number, too, differs from what is missing.
            let equals = match cell.as_text() {
                Some(text) => text == self.value,
                None if self.value.is_empty() => false,
                None => return Err("text"),
            };
            return Ok(equals == (self.comparison == Comparison::Equal));
        }
        match cell.as_number() {
            Some(number) => Ok(self.compare(number)),
            // In a csv file, a text among numbers is unequal to each of them.
            None if is_equality && matches!(cell, Value::Untyped(_)) => {
                Ok(self.comparison == Comparison::Unequal)
            }
            None => Err("a finite number"),
        }
    }

    fn compare(&self, number: f64) -> bool {
        let other = self.number.expect("checked when the condition was read");
        match self.comparison {
            Comparison::Equal => number == other,
            Comparison::Unequal => number != other,
            Comparison::Below => number < other,
            Comparison::AtMost => number <= other,
            Comparison::Above => number > other,
            Comparison::AtLeast => number >= other,
            Comparison::Contains => unreachable!("a comparison of texts"),
        }
    }
}
