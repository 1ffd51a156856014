use crate::error::Error;
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
    let (query, positive) = (rows.column("query")?, rows.column("positive")?);
    let (negative, documents) = (optional("negative")?, optional("documents")?);
    let given = |column: Option<&'_ [Value]>, row: usize| -> Option<Value> {
        column.map(|values| values[row].clone()).filter(|value| !value.is_missing())
    };
    let mut samples = Vec::with_capacity(rows.len());
    for row in 0..rows.len() {
        let candidates = match (given(negative, row), given(documents, row)) {
            (Some(texts), None) => Candidates::Negative(several(&texts, "negative", row)?),
            (None, Some(texts)) => Candidates::Documents(several(&texts, "documents", row)?),
            (first, _) => {
                let got = if first.is_some() { "both" } else { "neither" };
                let expected = "exactly one of `negative` and `documents`";
                return Err(Error::cell(READER, row, "", expected, got));
            }
        };
        let query =
            query[row].as_text().ok_or_else(|| wrong(row, "query", "a text", &query[row]))?;
        let positive = several(&positive[row], "positive", row)?;
        samples.push(RerankingSample { query: query.to_owned(), positive, candidates });
    }
    Ok(samples)
}

/// One text or a list of texts.
fn several(value: &Value, column: &str, row: usize) -> Result<Vec<String>, Error> {
    let refused = || wrong(row, column, "a text or a list of texts", value);
    match value {
        Value::List(values) => values
            .iter()
            .map(|value| value.as_text().map(str::to_owned).ok_or_else(refused))
            .collect(),
        value => Ok(vec![value.as_text().ok_or_else(refused)?.to_owned()]),
    }
}

fn wrong(row: usize, column: &str, expected: &str, got: &Value) -> Error {
    Error::cell(READER, row, column, expected, got.describe())
}
