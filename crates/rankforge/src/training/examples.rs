use crate::Error;
use crate::losses::{Cell, Examples, Labels};
use crate::training::LABEL_COLUMNS;
use rankforge_data::{Rows, Value};

/// Columns that sentence-transformers keeps for itself.
const RESERVED_COLUMNS: [&str; 2] = ["return_loss", "dataset_name"];

/// Rows whose columns have roles: the label, and the texts in data set order.
#[derive(Clone, Copy, Debug)]
pub struct Dataset<'a> {
    rows: &'a Rows,
    label: Option<usize>,
}

impl<'a> Dataset<'a> {
    /// Gives the columns their roles: the first present of `label`, `labels`, `score`, `scores` is
    /// the label, every other column is a text column. `what` names the data in errors.
    ///
    /// # Errors
    /// No row, no text column, a reserved column name, or a cell that is no text, list of texts,
    /// finite number or list of finite numbers where one has to be; the first row is named.
    pub fn new(rows: &'a Rows, what: &str) -> Result<Dataset<'a>, Error> {
        if rows.is_empty() {
            return Err(Error::Input(format!("{what}: expected at least one row, got none")));
        }
        let names = rows.column_names();
        if let Some(name) = names.iter().find(|name| RESERVED_COLUMNS.contains(name)) {
            let message = format!("{what}: column `{name}` has a reserved name; rename or drop it");
            return Err(Error::Input(message));
        }
        let label = LABEL_COLUMNS.iter().find_map(|label| names.iter().position(|n| n == label));
        if names.len() == usize::from(label.is_some()) {
            let message = format!("{what}: expected a text column, got only {}", names.join(", "));
            return Err(Error::Input(message));
        }
        for (index, (name, values)) in rows.columns().iter().enumerate() {
            let is_label = Some(index) == label;
            let expected = if is_label { "a finite number" } else { "a text" };
            let list = matches!(values[0], Value::List(_));
            let fits =
                |value: &Value| if is_label { number(value).is_some() } else { is_text(value) };
            for (row, value) in values.iter().enumerate() {
                let fine = match value {
                    Value::List(items) => list && items.iter().all(fits),
                    value => !list && fits(value),
                };
                if !fine {
                    let several = if list { "a list, each item " } else { "" };
                    return Err(Error::Input(format!(
                        "{what}: row {}, column `{name}`: expected {several}{expected}, got {}",
                        row + 1,
                        shown(value)
                    )));
                }
            }
        }
        Ok(Dataset { rows, label })
    }

    /// The rows.
    pub fn rows(&self) -> &'a Rows {
        self.rows
    }

    /// The rows of these numbers, as a loss takes them.
    pub fn examples(&self, batch: &[usize]) -> Examples {
        let columns = self.rows.columns();
        let texts = columns
            .iter()
            .enumerate()
            .filter(|(index, _)| Some(*index) != self.label)
            .map(|(_, (_, values))| batch.iter().map(|&row| cell(&values[row])).collect())
            .collect();
        let labels = match self.label {
            None => Labels::None,
            Some(index) => labels(batch.iter().map(|&row| &columns[index].1[row])),
        };
        Examples { columns: texts, labels }
    }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Text(text) => Cell::Text(text.clone()),
        Value::List(items) => Cell::Texts(
            items
                .iter()
                .map(|item| match item {
                    Value::Text(text) => text.clone(),
                    other => unreachable!("{} in a checked list of texts", shown(other)),
                })
                .collect(),
        ),
        other => unreachable!("{} in a checked text column", shown(other)),
    }
}

fn labels<'a>(values: impl Iterator<Item = &'a Value>) -> Labels {
    let checked = |value: &Value| number(value).expect("labels are checked") as f32;
    let (mut scalars, mut lists) = (Vec::new(), Vec::new());
    for value in values {
        match value {
            Value::List(items) => lists.push(items.iter().map(checked).collect()),
            value => scalars.push(checked(value)),
        }
    }
    if lists.is_empty() { Labels::Scalars(scalars) } else { Labels::Lists(lists) }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Float(number) => Some(*number).filter(|number| number.is_finite()),
        Value::Boolean(truth) => Some(f64::from(u8::from(*truth))),
        _ => None,
    }
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::Text(_))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Text(text) => {
            let start: String = text.chars().take(40).collect();
            format!("the text {start:?}")
        }
        Value::Integer(number) => format!("the number {number}"),
        Value::Float(number) => format!("the number {number}"),
        Value::Boolean(truth) => format!("{truth}"),
        Value::List(items) => {
            let odd = items.iter().find(|item| number(item).is_none() && !is_text(item));
            match odd {
                Some(odd) => format!("a list with {}", shown(odd)),
                None => format!("a list of {} items", items.len()),
            }
        }
    }
}
