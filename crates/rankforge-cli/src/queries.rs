//! Queries from files.

use crate::failure::CliError;
use crate::lines::{holds_lines, read_lines};
use rankforge::data::{Location, Value, load_rows};
use std::path::Path;

/// A query and its id.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Query {
    pub(crate) id: String,
    pub(crate) text: String,
}

/// Columns that hold queries, the first that there is.
const TEXTS: [&str; 3] = ["text", "query", "question"];

/// Columns that hold ids, the first that there is.
const IDS: [&str; 2] = ["_id", "id"];

/// Reads queries: those of a BEIR folder, a column of a data set, or the lines of a text. Without a
/// column of ids, and for lines, the ids are numbers from 1.
///
/// # Errors
/// If the file cannot be read, has no query, lacks the column, or a value is not a text.
pub(crate) fn read_queries(path: &Path, column: Option<&str>) -> anyhow::Result<Vec<Query>> {
    let queries = if holds_lines(path) {
        if column.is_some() {
            let message =
                "--queries-column cannot be used with lines of text, which have no columns";
            return Err(CliError::usage(message).into());
        }
        numbered(read_lines(path)?)
    } else {
        let beir = path.join("queries.jsonl");
        of_table(if beir.is_file() { &beir } else { path }, column)?
    };
    if queries.is_empty() {
        let message = format!("{}: expected at least one query, got none", path.display());
        return Err(CliError::input(message).into());
    }
    Ok(queries)
}

fn numbered(texts: Vec<String>) -> Vec<Query> {
    let numbered = texts.into_iter().enumerate();
    numbered.map(|(index, text)| Query { id: (index + 1).to_string(), text }).collect()
}

fn of_table(path: &Path, column: Option<&str>) -> anyhow::Result<Vec<Query>> {
    let rows = load_rows(&Location::new(path))?;
    let names = rows.column_names();
    let known =
        |candidates: &[&'static str]| candidates.iter().copied().find(|name| names.contains(name));
    let text = column.or_else(|| known(&TEXTS)).unwrap_or(TEXTS[0]);
    let mut queries = numbered(rows.owned_texts(text)?);
    let Some(column) = known(&IDS) else { return Ok(queries) };
    for (index, (query, id)) in queries.iter_mut().zip(rows.column(column)?).enumerate() {
        query.id = match id {
            Value::Integer(number) => number.to_string(),
            other => match other.as_text() {
                Some(id) if !id.is_empty() => id.to_owned(),
                _ => {
                    let (row, got) = (index + 1, other.describe());
                    let message = format!(
                        "{}, row {row}, column `{column}`: expected an id, got {got}",
                        path.display()
                    );
                    return Err(CliError::input(message).into());
                }
            },
        };
    }
    Ok(queries)
}
