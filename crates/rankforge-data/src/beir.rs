use crate::DataError;
use crate::json_file::Objects;
use crate::rows::quoted;
use indexmap::IndexMap;
use indexmap::map::Entry;
use serde_json::{Map, Value as Json};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// A retrieval collection: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beir {
    /// Document id to text (title and text joined by a space, when there is a title).
    pub corpus: IndexMap<String, String>,
    /// Query id to text; only queries with a relevant document in the split, in the file's order.
    pub queries: IndexMap<String, String>,
    /// Query id to (document id, relevance above 0), in the order of `queries`.
    pub relevant: IndexMap<String, Vec<(String, f64)>>,
}

/// Reads a BEIR folder; `split` is `test` unless given.
///
/// # Errors
/// A missing file, a malformed row (with file and line), a judgement of an unknown query or document, an identifier
/// used twice, no judgement above 0.
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

/// Identifiers and texts of `corpus.jsonl` or `queries.jsonl`.
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
        let all = if title.is_empty() { body.to_owned() } else { format!("{title} {body}") };
        match texts.entry(id) {
            Entry::Vacant(entry) => entry.insert(all),
            Entry::Occupied(entry) => {
                let message = format!("`_id` {} was used before", quoted(entry.key()));
                return Err(DataError::row(path, line, message));
            }
        };
    }
    if texts.is_empty() {
        return Err(DataError::file(path, "expected at least one row, got none"));
    }
    Ok(texts)
}

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
            Err(DataError::row(path, line, message))
        }
        None => {
            let there = crate::error::list(object.keys().map(String::as_str));
            Err(DataError::row(path, line, format!("expected a key `{key}`, got {there}")))
        }
    }
}

/// Relevant documents by query; every judgement is checked, those of 0 and below are then left out.
fn judgements(
    path: &Path,
    corpus: &IndexMap<String, String>,
    queries: &IndexMap<String, String>,
) -> Result<IndexMap<String, Vec<(String, f64)>>, DataError> {
    let file = File::open(path).map_err(|error| DataError::io(path, error))?;
    let mut relevant: IndexMap<String, IndexMap<String, f64>> = IndexMap::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let wrong = |message: String| DataError::row(path, index as u64 + 1, message);
        let line = line.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => wrong("invalid UTF-8".to_owned()),
            _ => DataError::io(path, error),
        })?;
        let line = line.trim_start_matches('\u{feff}').trim_end_matches('\r');
        if line.is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let [query, document, score] = cells[..] else {
            return Err(wrong(format!(
                "expected query-id, corpus-id and score between tabs, got {} cells in {}",
                cells.len(),
                quoted(line)
            )));
        };
        let number = match score.trim().parse::<f64>() {
            Ok(number) if number.is_finite() => number,
            // The header; its names vary, but its last cell is never a number.
            _ if index == 0 && !queries.contains_key(query) => continue,
            _ => return Err(wrong(format!("expected a finite score, got {}", quoted(score)))),
        };
        if !queries.contains_key(query) {
            return Err(wrong(format!("query {} is not in queries.jsonl", quoted(query))));
        }
        if !corpus.contains_key(document) {
            return Err(wrong(format!("document {} is not in corpus.jsonl", quoted(document))));
        }
        let known = relevant.entry(query.to_owned()).or_default();
        if let Some(before) = known.insert(document.to_owned(), number)
            && before != number
        {
            return Err(wrong(format!(
                "document {} was judged {before} for this query before, now {number}",
                quoted(document)
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

fn no_such_split(folder: &Path, path: &Path) -> DataError {
    let mut there: Vec<String> = std::fs::read_dir(folder.join("qrels"))
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".tsv"))
        .collect();
    there.sort();
    let there = crate::error::list(there.iter().map(String::as_str));
    DataError::file(path, format!("no such file: qrels/ has {there}"))
}
