use crate::beir::{Beir, UnknownJudgements, load_beir};
use crate::error::DataError;
use crate::reader::{Location, load_rows};
use crate::rows::Rows;
use crate::splits::splits;
use crate::value::Value;
use indexmap::IndexMap;
use rankforge_base::quoted_list;
use std::collections::HashSet;
use std::path::Path;

/// Where the collections of a folder are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// `corpus/`, `queries/` and `qrels/`, each with a split for each collection.
    Splits,
    /// A folder for each collection.
    Folders,
}

impl Layout {
    fn of(folder: &Path) -> Layout {
        let parts = ["corpus", "queries", "qrels"];
        match parts.iter().all(|part| folder.join(part).is_dir()) {
            true => Layout::Splits,
            false => Layout::Folders,
        }
    }
}

/// Those of `names` whose collection `Nano{name}` a folder has, in the order of `names`, in lower
/// case.
///
/// # Errors
/// A folder that cannot be read, or that has none of them.
pub fn nano_beir_names(folder: &Path, names: &[&str]) -> Result<Vec<String>, DataError> {
    let present: HashSet<String> = match Layout::of(folder) {
        Layout::Splits => {
            splits(&folder.join("corpus"))?.into_iter().map(|(name, _)| name).collect()
        }
        Layout::Folders => {
            let entries =
                std::fs::read_dir(folder).map_err(|error| DataError::io(folder, error))?;
            let names = entries.map(|entry| {
                let entry = entry.map_err(|error| DataError::io(folder, error))?;
                Ok(entry.file_name().to_string_lossy().into_owned())
            });
            names.collect::<Result<_, DataError>>()?
        }
    };
    let has = |name: &&&str| present.contains(&format!("Nano{name}"));
    let found: Vec<String> = names.iter().filter(has).map(|name| name.to_lowercase()).collect();
    if found.is_empty() {
        let nano: Vec<String> = names.iter().map(|name| format!("Nano{name}")).collect();
        let message = format!(
            "expected a collection of NanoBEIR: one of {}, as a folder or as a split of corpus/, \
             queries/ and qrels/",
            quoted_list(nano.iter().map(String::as_str))
        );
        return Err(DataError::file(folder, message));
    }
    Ok(found)
}

/// A collection of NanoBEIR from a local folder. `split` is its name, such as `NanoMSMARCO`.
///
/// The folder is a copy of a data set on the Hub with a split for each collection in `corpus`,
/// `queries` and `qrels`, such as `corpus/NanoMSMARCO-00000-of-00001.parquet`; or it has a folder
/// for each collection, which is a BEIR folder, or has `corpus`, `queries` and `qrels` with one
/// split each. Columns are `_id` and `text`, and `query-id` and `corpus-id`, the latter one id or a
/// list. Empty texts are left out, as sentence-transformers does.
///
/// # Errors
/// A folder, split or column that is missing, a cell of another type, or an id that is used twice.
pub fn load_nano_beir(folder: &Path, split: &str) -> Result<Beir, DataError> {
    let own = folder.join(split);
    let part = |part: &str| match Layout::of(folder) {
        Layout::Splits => {
            Location { split: Some(split.to_owned()), ..Location::new(folder.join(part)) }
        }
        Layout::Folders => Location::new(own.join(part)),
    };
    if Layout::of(folder) == Layout::Folders && own.join("corpus.jsonl").is_file() {
        let Beir { mut corpus, mut queries, relevant, .. } = load_beir(&own, None)?;
        corpus.retain(|_, text| !text.is_empty());
        queries.retain(|_, text| !text.is_empty());
        return Ok(collection(corpus, queries, relevant));
    }
    let load = |name: &str, columns: [&str; 2]| {
        let columns = columns.map(str::to_owned).to_vec();
        load_rows(&Location { columns: Some(columns), ..part(name) })
    };
    let corpus = texts(&load("corpus", ["_id", "text"])?)?;
    let queries = texts(&load("queries", ["_id", "text"])?)?;
    let relevant = judgements(&load("qrels", ["query-id", "corpus-id"])?)?;
    Ok(collection(corpus, queries, relevant))
}

/// The ranking of a collection of NanoBEIR by BM25: query id to ids of documents, best first.
/// `split` is the name of the collection, such as `NanoMSMARCO`.
///
/// In a copy of a data set on the Hub it is `bm25` beside `corpus`; in a folder for each collection
/// it is a folder `bm25` or a file `bm25.jsonl` or `bm25.parquet`. Columns are `query-id` and
/// `corpus-ids`, a list. Documents without a text are left out, as they are of the corpus.
///
/// # Errors
/// A folder, split or column that is missing, or a cell of another type.
pub fn load_nano_beir_ranking(
    folder: &Path,
    split: &str,
) -> Result<IndexMap<String, Vec<String>>, DataError> {
    let location = match Layout::of(folder) {
        Layout::Splits => {
            Location { split: Some(split.to_owned()), ..Location::new(folder.join(RANKING)) }
        }
        Layout::Folders => {
            let own = folder.join(split).join(RANKING);
            let files = ["jsonl", "parquet"].map(|extension| own.with_extension(extension));
            let file = files.into_iter().find(|file| file.is_file());
            Location::new(file.unwrap_or(own))
        }
    };
    let columns = ["query-id", "corpus-ids"].map(str::to_owned).to_vec();
    let rows = load_rows(&Location { columns: Some(columns), ..location })?;
    let mut ranking = IndexMap::new();
    let queries = rows.texts("query-id")?.into_iter();
    for (row, (query, value)) in queries.zip(rows.column("corpus-ids")?).enumerate() {
        let ids = match value {
            Value::List(ids) => {
                ids.iter().map(|id| id.as_text().map(str::to_owned)).collect::<Option<Vec<_>>>()
            }
            _ => None,
        };
        let ids = ids.ok_or_else(|| {
            let place = rows.source().unwrap_or(Path::new(""));
            let got = value.describe();
            let message =
                format!("row {}, column `corpus-ids`: expected a list of ids, got {got}", row + 1);
            DataError::file(place, message)
        })?;
        ranking.insert(query.to_owned(), ids);
    }
    Ok(ranking)
}

/// The folder, or the start of the name of the file, of rankings.
const RANKING: &str = "bm25";

/// A collection with the queries that have a relevant document only.
fn collection(
    corpus: IndexMap<String, String>,
    mut queries: IndexMap<String, String>,
    mut judged: IndexMap<String, Vec<(String, f64)>>,
) -> Beir {
    let unknown = unknown(&judged, &queries, &corpus);
    let all = queries.len();
    queries.retain(|id, _| judged.contains_key(id));
    let unjudged = all - queries.len();
    let of = |id: &String| (id.clone(), judged.swap_remove(id).unwrap_or_default());
    let relevant = queries.keys().map(of).collect();
    Beir { corpus, queries, unjudged, relevant, unknown, without_text: 0 }
}

/// Id to text, without empty texts.
fn texts(rows: &Rows) -> Result<IndexMap<String, String>, DataError> {
    let mut texts = IndexMap::new();
    for (row, (id, text)) in rows.texts("_id")?.into_iter().zip(rows.texts("text")?).enumerate() {
        if !text.is_empty() && texts.insert(id.to_owned(), text.to_owned()).is_some() {
            let place = rows.source().unwrap_or(Path::new(""));
            let message = format!("row {}: `_id` {id} is used by an earlier row", row + 1);
            return Err(DataError::file(place, message));
        }
    }
    Ok(texts)
}

/// Query id to the ids of its relevant documents.
fn judgements(rows: &Rows) -> Result<IndexMap<String, Vec<(String, f64)>>, DataError> {
    let queries = rows.texts("query-id")?;
    let mut relevant: IndexMap<String, IndexMap<String, f64>> = IndexMap::new();
    for (row, (query, value)) in queries.into_iter().zip(rows.column("corpus-id")?).enumerate() {
        let several = match value {
            Value::List(values) => values.as_slice(),
            value => std::slice::from_ref(value),
        };
        for value in several {
            let id = value.as_text().ok_or_else(|| {
                let place = rows.source().unwrap_or(Path::new(""));
                let got = value.describe();
                let message = format!(
                    "row {}, column `corpus-id`: expected an id or a list of ids, got {got}",
                    row + 1
                );
                DataError::file(place, message)
            })?;
            relevant.entry(query.to_owned()).or_default().insert(id.to_owned(), 1.0);
        }
    }
    let list =
        |(query, found): (String, IndexMap<String, f64>)| (query, found.into_iter().collect());
    Ok(relevant.into_iter().map(list).collect())
}

/// Judgements of what is not in the collection.
fn unknown(
    relevant: &IndexMap<String, Vec<(String, f64)>>,
    queries: &IndexMap<String, String>,
    corpus: &IndexMap<String, String>,
) -> UnknownJudgements {
    let mut unknown = UnknownJudgements::default();
    let mut documents = HashSet::new();
    for (query, found) in relevant {
        if !queries.contains_key(query) {
            unknown.queries += 1;
            unknown.query_judgements += found.len();
            continue;
        }
        for (id, _) in found.iter().filter(|(id, _)| !corpus.contains_key(id)) {
            unknown.document_judgements += 1;
            documents.insert(id);
        }
    }
    unknown.documents = documents.len();
    unknown
}
