use crate::error::DataError;
use crate::json_objects::Objects;
use crate::value::quoted;
use indexmap::IndexMap;
use indexmap::map::Entry;
use rankforge_base::quoted_list;
use serde_json::{Map, Value as Json};
use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

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
    /// Number of queries in the file without a relevant document, which are left out.
    pub unjudged: usize,
    /// Query id to pairs (document id, relevance), with relevance > 0, in the order of `queries`.
    /// A document that `corpus` lacks stays here: it is relevant, and no search finds it.
    pub relevant: IndexMap<String, Vec<(String, f64)>>,
    /// The judgements above 0 that name what is not in the collection.
    pub unknown: UnknownJudgements,
    /// Number of documents without `text`, which is read as empty, as BEIR does.
    pub without_text: usize,
}

/// Numbers of judgements above 0 that name a document or a query that is not in its file, and of
/// these documents and queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnknownJudgements {
    /// Judgements of documents that are not in `corpus.jsonl`.
    pub document_judgements: usize,
    /// Documents that are not in `corpus.jsonl`.
    pub documents: usize,
    /// Judgements of queries that are not in `queries.jsonl`.
    pub query_judgements: usize,
    /// Queries that are not in `queries.jsonl`.
    pub queries: usize,
}

impl Beir {
    /// What is wrong with the collection and did not keep it from being read, a line each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.unknown.is_empty() {
            warnings.push(self.unknown.to_string());
        }
        if self.without_text > 0 {
            warnings.push(format!(
                "documents without `text` in corpus.jsonl, which is read as empty: {}",
                self.without_text
            ));
        }
        warnings
    }
}

impl UnknownJudgements {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.document_judgements + self.query_judgements == 0
    }
}

/// What was found and what becomes of it.
impl fmt::Display for UnknownJudgements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.documents > 0 {
            write!(
                f,
                "documents named in the judgements but not in corpus.jsonl, which the figures of \
                 BEIR count as relevant and not found, and those of sentence-transformers' \
                 evaluator leave out: {} in {} judgements",
                self.documents, self.document_judgements
            )?;
        }
        if self.documents > 0 && self.queries > 0 {
            f.write_str("; ")?;
        }
        if self.queries > 0 {
            write!(
                f,
                "queries named in the judgements but not in queries.jsonl, which are left out: {} \
                 in {} judgements",
                self.queries, self.query_judgements
            )?;
        }
        Ok(())
    }
}

/// Whether an id can stand in a TREC run file, whose columns end at white space.
pub fn fits_run_file(id: &str) -> bool {
    !id.is_empty() && !id.contains(char::is_whitespace)
}

/// Reads a BEIR directory: `corpus.jsonl`, `queries.jsonl` (each also with `.gz` or `.zst`) and
/// `qrels/SPLIT.tsv`.
///
/// `split` defaults to `test`, the split that BEIR evaluates. Judgements of relevance 0 and below
/// are checked like the others and then dropped. Judgements of queries that are not in
/// `queries.jsonl` are left out; those of documents that are not in `corpus.jsonl` are kept. Both
/// are counted in [`Beir::unknown`].
///
/// # Errors
/// A missing file; a malformed row (with file and line); an id that is used twice, or two different
/// judgements of one document; no judgement above 0 of a query in `queries.jsonl`.
pub fn load_beir(folder: &Path, split: Option<&str>) -> Result<Beir, DataError> {
    let path = beir_file(folder, "corpus.jsonl");
    let (corpus, without_text) = texts(&path, true)?;
    if corpus.values().all(|text| text.is_empty()) {
        let expected = "expected a key `text` or `title` with a text in at least one line";
        return Err(DataError::file(&path, format!("{expected}, got none")));
    }
    let (mut queries, _) = texts(&beir_file(folder, "queries.jsonl"), false)?;
    let path = folder.join("qrels").join(format!("{}.tsv", split.unwrap_or("test")));
    if !path.exists() {
        return Err(no_such_split(folder, &path));
    }
    let mut judged = judgements(&path, &queries)?;
    let unknown = take_unknown(&mut judged, &corpus, &queries);
    if judged.is_empty() {
        let expected = "expected at least one judgement above 0 of a query in queries.jsonl";
        return Err(DataError::file(&path, format!("{expected}, got none")));
    }
    let all = queries.len();
    queries.retain(|query, _| judged.contains_key(query));
    let unjudged = all - queries.len();
    let relevant = queries
        .keys()
        .map(|query| (query.clone(), judged.swap_remove(query).unwrap_or_default()))
        .collect();
    Ok(Beir { corpus, queries, unjudged, relevant, unknown, without_text })
}

/// The path of a file in a BEIR directory, or where there is none, of a compressed one: with `.gz`
/// or `.zst` behind its name.
pub fn beir_file(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let compressed = ["gz", "zst"].map(|extension| folder.join(format!("{name}.{extension}")));
    match compressed.into_iter().find(|path| path.is_file()) {
        Some(compressed) if !path.is_file() => compressed,
        _ => path,
    }
}

/// Removes the judgements of unknown queries, and counts these and those of unknown documents.
fn take_unknown(
    judged: &mut IndexMap<String, Vec<(String, f64)>>,
    corpus: &IndexMap<String, String>,
    queries: &IndexMap<String, String>,
) -> UnknownJudgements {
    let mut unknown = UnknownJudgements::default();
    judged.retain(|query, documents| {
        let known = queries.contains_key(query);
        if !known {
            unknown.queries += 1;
            unknown.query_judgements += documents.len();
        }
        known
    });
    let documents = judged.values().flatten().map(|(document, _)| document);
    let missing: Vec<&String> =
        documents.filter(|document| !corpus.contains_key(*document)).collect();
    unknown.document_judgements = missing.len();
    unknown.documents = missing.into_iter().collect::<HashSet<_>>().len();
    unknown
}

/// Id to text of the objects of `corpus.jsonl` or `queries.jsonl`, and the number of those without
/// text. Only documents (`may_lack_text`) can have none.
fn texts(path: &Path, may_lack_text: bool) -> Result<(IndexMap<String, String>, usize), DataError> {
    let (mut texts, mut without_text) = (IndexMap::new(), 0);
    for object in Objects::open(path)? {
        let (line, object) = object?;
        let id = match object.get("_id") {
            Some(Json::Number(number)) if number.is_i64() => number.to_string(),
            _ => text(path, line, &object, "_id")?.to_owned(),
        };
        let body = match object.get("text") {
            None | Some(Json::Null) if may_lack_text => {
                without_text += 1;
                ""
            }
            _ => text(path, line, &object, "text")?,
        };
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
    Ok((texts, without_text))
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
                "expected query-id, corpus-id and score separated by tabs, got {} {} in {}",
                cells.len(),
                if cells.len() == 1 { "cell" } else { "cells" },
                quoted(line)
            )));
        };
        let relevance = match score.trim().parse::<f64>() {
            Ok(relevance) if relevance.is_finite() => relevance,
            // The header row. Its column names vary, but the last one is never a number.
            _ if index == 0 && !queries.contains_key(query) => continue,
            _ => return Err(row_error(format!("expected a finite score, got {}", quoted(score)))),
        };
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
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
        .filter(|name| name.ends_with(".tsv"))
        .collect();
    existing.sort();
    let existing = quoted_list(existing.iter().map(String::as_str));
    DataError::file(path, format!("no such file; qrels/ contains {existing}"))
}
