use crate::{DataError, Rows};
use std::path::Path;

/// Writes rows to `.jsonl`, `.csv` or `.parquet`, under a temporary name until [`RowWriter::finish`].
pub struct RowWriter {}

impl RowWriter {
    /// Starts a file; the extension says the format.
    ///
    /// # Errors
    /// An unknown extension, or a folder that cannot be written.
    pub fn create(path: &Path) -> Result<RowWriter, DataError> {
        unimplemented!()
    }

    /// Adds rows; all chunks have the same columns.
    ///
    /// # Errors
    /// When the disk is full, or a value has no form in the format (lists in csv).
    pub fn write(&mut self, rows: &Rows) -> Result<(), DataError> {
        unimplemented!()
    }

    /// Completes the file and gives it its name. Dropping the writer instead removes it.
    ///
    /// # Errors
    /// When the disk is full.
    pub fn finish(self) -> Result<(), DataError> {
        unimplemented!()
    }
}
