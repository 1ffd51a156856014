use crate::error::Error;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// Prompts that are prepended to the texts of training rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a text, or texts by the name of a column or of a training set")]
pub enum Prompts {
    /// One text for every column of every training set.
    All(String),
    /// Keyed by the name of a set: one text for all columns of the set, or texts keyed by column.
    /// Alternatively keyed by column, for all sets.
    Named(IndexMap<String, Prompts>),
}

impl Prompts {
    /// The prompt of each of `columns` in the training or evaluation set `set`; `None` for a column
    /// without a prompt. `sets` are the names of all training and evaluation sets.
    ///
    /// # Errors
    /// A name that is neither a column of the set nor a set, or a table where a text is expected.
    pub fn of_columns(
        &self,
        set: &str,
        sets: &[&str],
        columns: &[String],
    ) -> Result<Vec<Option<String>>, Error> {
        let by_name = match self {
            Prompts::All(text) => return Ok(vec![Some(text.clone()); columns.len()]),
            Prompts::Named(by_name) => by_name,
        };
        if !by_name.keys().all(|name| sets.contains(&name.as_str())) {
            return by_column(by_name, "prompts", sets, columns);
        }
        match by_name.get(set) {
            None => Ok(vec![None; columns.len()]),
            Some(Prompts::All(text)) => Ok(vec![Some(text.clone()); columns.len()]),
            Some(Prompts::Named(by_name)) => {
                by_column(by_name, &format!("prompts.{set}"), &[], columns)
            }
        }
    }
}

/// The prompt of each column, looked up by name. `sets` are the set names that `field` also
/// accepts, for the error message.
fn by_column(
    by_name: &IndexMap<String, Prompts>,
    field: &str,
    sets: &[&str],
    columns: &[String],
) -> Result<Vec<Option<String>>, Error> {
    for (name, prompt) in by_name {
        if !columns.contains(name) {
            let named: Vec<&str> = sets.iter().copied().filter(|set| !set.is_empty()).collect();
            let mut expected = format!("names of columns ({})", columns.join(", "));
            if !named.is_empty() {
                expected.push_str(&format!(", or of data sets only ({})", named.join(", ")));
            }
            return Err(Error::argument(field, expected, name));
        }
        if !matches!(prompt, Prompts::All(_)) {
            let expected = "one text for each column";
            return Err(Error::argument(format!("{field}.{name}"), expected, "a table"));
        }
    }
    let of_column = |column: &String| match by_name.get(column) {
        Some(Prompts::All(text)) => Some(text.clone()),
        _ => None,
    };
    Ok(columns.iter().map(of_column).collect())
}
