use crate::error::DataError;
use crate::json_objects::Objects;
use crate::value::quoted;
use indexmap::IndexMap;
use indexmap::map::Entry;
use rankforge_base::quoted_list;
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A retrieval data set in the format of the BEIR benchmark.
///
/// # Paper
/// Thakur et al. 2021, arXiv:2104.08663.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beir {
    /// Document id to text. A document with a title becomes "TITLE TEXT".
    pub corpus: IndexMap<String, String>,
    /// Query id to text, in the order of the file; only queries with a relevant document.
    pub queries: IndexMap<String, String>,
    /// Query id to pairs (document id, relevance), with relevance > 0, in the order of `queries`.
    pub relevant: IndexMap<String, Vec<(String, f64)>>,
}

/// Reads a BEIR directory: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`.
///
/// `split` defaults to `test`, the split that BEIR evaluates. Judgements of relevance 0 and below
/// are checked like the others and then dropped.
///
/// # Errors
/// A missing file; a malformed row (with file and line); a judgement of an unknown query or
/// document; an id that is used twice, or two different judgements of one document; no judgement
/// above 0.
pub fn load_beir(folder: &Path, split: Option<&str>) -> Result<Beir, DataError> {
    let corpus = texts(&folder.join("corpus.jsonl"))?;
    let mut queries = texts(&folder.join("queries.jsonl"))?;
    let path = folder.join("qrels").join(format!("{}.tsv", split.unwrap_or("test")));
    if !path.exists() {
        return Err(no_such_split(folder, &path));
    }
    let mut judged = judgements(&path, &corpus, &queries)?;
    queries.retain(|query, _| judged.contains_key(query));
    let relevant = queries
        .keys()
        .map(|query| (query.clone(), judged.swap_remove(query).unwrap_or_default()))
        .collect();
    Ok(Beir { corpus, queries, relevant })
}

/// Id to text of the objects of `corpus.jsonl` or `queries.jsonl`.
fn texts(path: &Path) -> Result<IndexMap<String, String>, DataError> {
    let mut texts = IndexMap::new();
    for object in Objects::open(path)? {
        let (line, object) = object?;
        let id = match object.get("_id") {
            Some(Json::Number(number)) if number.is_i64() => number.to_string(),
            _ => text(path, line, &object, "_id")?.to_owned(),
        };
        let body = text(path, line, &object, "text")?;
        let title = match object.get("title") {
            None | Some(Json::Null) => "",
            Some(_) => text(path, line, &object, "title")?,
        };
        let full = if title.is_empty() { body.to_owned() } else { format!("{title} {body}") };
        match texts.entry(id) {
            Entry::Vacant(entry) => entry.insert(full),
            Entry::Occupied(entry) => {
                let message = format!("`_id` {} is used by an earlier line", quoted(entry.key()));
                return Err(DataError::line(path, line, message));
            }
        };
    }
    if texts.is_empty() {
        return Err(DataError::file(path, "expected at least one row, got none"));
    }
    Ok(texts)
}

/// The string at `key` of an object.
fn text<'a>(
    path: &Path,
    line: u64,
    object: &'a Map<String, Json>,
    key: &str,
) -> Result<&'a str, DataError> {
    match object.get(key) {
        Some(Json::String(text)) => Ok(text),
        Some(other) => {
            let message = format!("`{key}`: expected text, got {}", quoted(&other.to_string()));
            Err(DataError::line(path, line, message))
        }
        None => {
            let keys = quoted_list(object.keys().map(String::as_str));
            Err(DataError::line(path, line, format!("expected a key `{key}`, got {keys}")))
        }
    }
}

/// Query id to (document id, relevance), for the judgements with relevance > 0.
fn judgements(
    path: &Path,
    corpus: &IndexMap<String, String>,
    queries: &IndexMap<String, String>,
) -> Result<IndexMap<String, Vec<(String, f64)>>, DataError> {
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut relevant: IndexMap<String, IndexMap<String, f64>> = IndexMap::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let row_error = |message: String| DataError::line(path, index as u64 + 1, message);
        let line = line.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => row_error("invalid UTF-8".to_owned()),
            _ => DataError::io(path, error),
        })?;
        let line = line.trim_start_matches('\u{feff}').trim_end_matches('\r');
        if line.is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let [query, document, score] = cells[..] else {
            return Err(row_error(format!(
                "expected query-id, corpus-id and score separated by tabs, got {} cells in {}",
                cells.len(),
                quoted(line)
            )));
        };
        let relevance = match score.trim().parse::<f64>() {
            Ok(relevance) if relevance.is_finite() => relevance,
            // The header row. Its column names vary, but the last one is never a number.
            _ if index == 0 && !queries.contains_key(query) => continue,
            _ => return Err(row_error(format!("expected a finite score, got {}", quoted(score)))),
        };
        if !queries.contains_key(query) {
            return Err(row_error(format!("query {} is not in queries.jsonl", quoted(query))));
        }
        if !corpus.contains_key(document) {
            return Err(row_error(format!("document {} is not in corpus.jsonl", quoted(document))));
        }
        let judged = relevant.entry(query.to_owned()).or_default();
        if let Some(earlier) = judged.insert(document.to_owned(), relevance)
            && earlier != relevance
        {
            return Err(row_error(format!(
                "document {} has score {relevance} for query {} here and score {earlier} in an \
                 earlier line",
                quoted(document),
                quoted(query)
            )));
        }
    }
    for documents in relevant.values_mut() {
        documents.retain(|_, score| *score > 0.0);
    }
    relevant.retain(|_, documents| !documents.is_empty());
    if relevant.is_empty() {
        return Err(DataError::file(path, "expected at least one judgement above 0, got none"));
    }
    Ok(relevant
        .into_iter()
        .map(|(query, documents)| (query, documents.into_iter().collect()))
        .collect())
}

/// The error for a missing `qrels/SPLIT.tsv`, with a list of those that exist.
fn no_such_split(folder: &Path, path: &Path) -> DataError {
    let mut existing: Vec<String> = std::fs::read_dir(folder.join("qrels"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".tsv"))
        .collect();
    existing.sort();
    let existing = quoted_list(existing.iter().map(String::as_str));
    DataError::file(path, format!("no such file; qrels/ contains {existing}"))
}
