use crate::error::{Error, read_from};
use rankforge_base::quoted_list;
use rankforge_data::{Rows, Value};

/// A query, the texts that answer it, and the texts to rank.
#[derive(Clone, Debug, PartialEq)]
pub struct RerankingSample {
    /// The query.
    pub query: String,
    /// Relevant texts.
    pub positive: Vec<String>,
    /// The other texts.
    pub candidates: Candidates,
}

/// The texts of a sample besides its positives.
#[derive(Clone, Debug, PartialEq)]
pub enum Candidates {
    /// Irrelevant texts.
    Negative(Vec<String>),
    /// The ranking of a first stage, best first; it may contain relevant texts.
    Documents(Vec<String>),
}

/// Who reads the rows, in messages.
const READER: &str = "reranking samples";

/// Samples from a table with the columns `query`, `positive` (a text or several) and, in each row,
/// exactly one of `negative` and `documents`.
///
/// # Errors
/// A missing column or cell, a cell of another type, or both or neither of `negative` and
/// `documents`; the error names the row.
pub fn reranking_samples(rows: &Rows) -> Result<Vec<RerankingSample>, Error> {
    let names = rows.column_names();
    let optional = |name: &str| -> Result<Option<&[Value]>, Error> {
        Ok(if names.contains(&name) { Some(rows.column(name)?) } else { None })
    };
    for name in ["query", "positive"] {
        if !names.contains(&name) {
            let expected = format!("a column `{name}`");
            return Err(Error::rows(READER, expected, quoted_list(names.iter().copied())));
        }
    }
    let cell_error = |row, column: &str, expected: &str, got: &str| {
        Error::cell(read_from(READER, rows.source()), row, column, expected, got)
    };
    let texts = |value: &Value, column: &str, row| {
        several(value).map_err(|expected| cell_error(row, column, expected, &value.describe()))
    };
    let (query, positive) = (rows.column("query")?, rows.column("positive")?);
    let (negative, documents) = (optional("negative")?, optional("documents")?);
    let given = |column: Option<&'_ [Value]>, row: usize| -> Option<Value> {
        column.map(|values| values[row].clone()).filter(|value| !value.is_missing())
    };
    let mut samples = Vec::with_capacity(rows.len());
    for row in 0..rows.len() {
        let candidates = match (given(negative, row), given(documents, row)) {
            (Some(value), None) => Candidates::Negative(texts(&value, "negative", row)?),
            (None, Some(value)) => Candidates::Documents(texts(&value, "documents", row)?),
            (first, _) => {
                let got = if first.is_some() { "both" } else { "neither" };
                let expected = "exactly one of `negative` and `documents`";
                return Err(cell_error(row, "", expected, got));
            }
        };
        let query = query[row]
            .as_text()
            .ok_or_else(|| cell_error(row, "query", "a text", &query[row].describe()))?;
        let positive = texts(&positive[row], "positive", row)?;
        samples.push(RerankingSample { query: query.to_owned(), positive, candidates });
    }
    Ok(samples)
}

/// One text or a list of texts. The error is what is expected.
fn several(value: &Value) -> Result<Vec<String>, &'static str> {
    let text =
        |value: &Value| value.as_text().map(str::to_owned).ok_or("a text or a list of texts");
    match value {
        Value::List(values) => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}
