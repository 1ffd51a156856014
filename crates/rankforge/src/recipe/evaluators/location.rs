use rankforge_data::Location;
use std::num::NonZeroUsize;
use std::path::Path;

/// Where an evaluator's `name` is not given.
pub(super) const NO_NAME: &str = "";

/// Where the data of an evaluator are.
pub(super) fn location(
    path: &Path,
    split: &Option<String>,
    columns: &Option<Vec<String>>,
    limit: Option<NonZeroUsize>,
) -> Location {
    Location {
        path: path.to_owned(),
        split: split.clone(),
        columns: columns.clone(),
        limit: limit.map(NonZeroUsize::get),
    }
}

/// Whether a directory is a BEIR folder.
pub(super) fn is_beir(path: &Path) -> bool {
    path.join("corpus.jsonl").is_file() && path.join("queries.jsonl").is_file()
}
