use crate::error::DataError;
use crate::value::quoted;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// How relevant a document is to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Id of the query.
    pub query: String,
    /// Id of the document.
    pub document: String,
    /// 0 or below is irrelevant.
    pub grade: i64,
}

/// Reads judgements, one per line: `query iteration document grade` as TREC and MS MARCO have them,
/// or `query document grade` as BEIR has them, also with a header row. White space separates them.
/// The file may be compressed.
///
/// # Errors
/// A file that cannot be read, a line of another form, or no judgement.
pub fn load_qrels(path: &Path) -> Result<Vec<Judgement>, DataError> {
    let io = |error| DataError::io(path, error);
    let input = BufReader::new(crate::compression::open(path).map_err(io)?);
    let mut judgements = Vec::new();
    for (index, line) in input.lines().enumerate() {
        let line = line.map_err(io)?;
        let cells: Vec<&str> = line.split_whitespace().collect();
        let (query, document, grade) = match cells[..] {
            [] => continue,
            [query, _, document, grade] | [query, document, grade] => (query, document, grade),
            _ => {
                let message = format!(
                    "expected query, iteration, document and grade, or all but the iteration, got \
                     {} words in {}",
                    cells.len(),
                    quoted(&line)
                );
                return Err(DataError::line(path, index as u64 + 1, message));
            }
        };
        let Ok(grade) = grade.parse() else {
            if judgements.is_empty() && index == 0 {
                continue; // a header row
            }
            let message = format!("expected a whole number as grade, got {}", quoted(grade));
            return Err(DataError::line(path, index as u64 + 1, message));
        };
        let (query, document) = (query.to_owned(), document.to_owned());
        judgements.push(Judgement { query, document, grade });
    }
    if judgements.is_empty() {
        return Err(DataError::file(path, "expected at least one judgement, got none"));
    }
    Ok(judgements)
}
