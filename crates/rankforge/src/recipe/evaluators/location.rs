use crate::error::Error;
use rankforge_base::quoted_list;
use rankforge_data::{Location, Rows, beir_file};
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
        header: None,
    }
}

/// Whether a directory is a BEIR folder.
pub(super) fn is_beir(path: &Path) -> bool {
    ["corpus.jsonl", "queries.jsonl"].iter().all(|name| beir_file(path, name).is_file())
}

/// The names of the first columns, one for each role.
///
/// # Errors
/// Fewer columns than roles.
pub(super) fn first_columns<'a, const N: usize>(
    rows: &'a Rows,
    path: &Path,
    roles: [&str; N],
) -> Result<[&'a str; N], Error> {
    let names = rows.column_names();
    let first = names.get(..N).and_then(|names| names.try_into().ok());
    first.ok_or_else(|| {
        let number = ["no", "one", "two", "three"][N];
        let expected = format!("{number} columns in this order: {}", roles.join(", "));
        let got = quoted_list(names.iter().copied());
        Error::rows(path.display().to_string(), expected, got)
    })
}
