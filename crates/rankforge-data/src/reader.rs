use crate::{DataError, Rows};
use std::path::{Path, PathBuf};

/// Where rows come from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Location {
    /// A `.jsonl`, `.json`, `.csv`, `.tsv` or `.parquet` file, or a folder of them.
    pub path: PathBuf,
    /// In a folder: files whose name starts with the split's name; `None` takes `train`, or the only split.
    pub split: Option<String>,
    /// Columns to keep, in this order; `None` keeps all. This is how roles are given by flag.
    pub columns: Option<Vec<String>>,
    /// Stop after so many rows.
    pub limit: Option<usize>,
}

/// Reads rows in chunks of bounded size.
pub struct RowReader {}

impl RowReader {
    /// Opens a location; chunks hold at most `chunk_rows` rows.
    ///
    /// # Errors
    /// A missing file, an unknown extension, an unknown split (those there are get listed), a missing column.
    pub fn open(location: &Location, chunk_rows: usize) -> Result<RowReader, DataError> {
        unimplemented!()
    }
}

impl Iterator for RowReader {
    type Item = Result<Rows, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        unimplemented!()
    }
}

/// All rows of a location.
///
/// # Errors
/// As [`RowReader`], and when there is no row at all.
pub fn load_rows(location: &Location) -> Result<Rows, DataError> {
    unimplemented!()
}

/// The splits of a folder with their files, sorted by name; a file is one split called `train`.
///
/// # Errors
/// When the path does not exist or holds no data file.
pub fn splits(path: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, DataError> {
    unimplemented!()
}
