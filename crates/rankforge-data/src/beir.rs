use crate::DataError;
use indexmap::IndexMap;
use std::path::Path;

/// A retrieval collection: `corpus.jsonl`, `queries.jsonl` and `qrels/SPLIT.tsv`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Beir {
    /// Document id to text (title and text joined by a space, when there is a title).
    pub corpus: IndexMap<String, String>,
    /// Query id to text; only queries with a judgement in the split.
    pub queries: IndexMap<String, String>,
    /// Query id to (document id, relevance above 0).
    pub relevant: IndexMap<String, Vec<(String, f64)>>,
}

/// Reads a BEIR folder; `split` is `test` unless given.
///
/// # Errors
/// A missing file, a malformed row (with file and line), a judgement of an unknown query or document.
pub fn load_beir(folder: &Path, split: Option<&str>) -> Result<Beir, DataError> {
    unimplemented!()
}
