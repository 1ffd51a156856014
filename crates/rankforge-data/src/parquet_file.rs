//! Parquet files.

use crate::arrow_values::{Selection, chunk, guarded};
use crate::chunk::Chunk;
use crate::error::DataError;
use arrow_schema::FieldRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Reads the rows of one file.
pub(crate) struct ParquetFile {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    /// Names of all columns.
    names: Vec<String>,
    /// The chosen columns that the file has.
    chosen: Vec<FieldRef>,
    /// Number of rows that were returned so far.
    rows_before: u64,
}

impl ParquetFile {
    /// Opens a file. `None` as `chosen` chooses all columns; columns that it lacks are left out.
    /// Chunks have at most `max_rows` rows.
    pub(crate) fn open(
        path: &Path,
        chosen: Option<&[String]>,
        max_rows: usize,
    ) -> Result<ParquetFile, DataError> {
        ParquetFile::open_guarded(path, chosen, max_rows, None)
    }

    /// Opens a file at a row, to read `rows` rows.
    pub(crate) fn open_at(
        path: &Path,
        chosen: Option<&[String]>,
        row: u64,
        rows: usize,
    ) -> Result<ParquetFile, DataError> {
        ParquetFile::open_guarded(path, chosen, rows, Some(row))
    }

    /// Number of rows that were returned so far.
    pub(crate) fn rows_before(&self) -> u64 {
        self.rows_before
    }

    fn open_guarded(
        path: &Path,
        chosen: Option<&[String]>,
        max_rows: usize,
        first: Option<u64>,
    ) -> Result<ParquetFile, DataError> {
        let damaged = || "damaged: cannot be read as parquet".to_owned();
        guarded(path, damaged, || ParquetFile::open_unguarded(path, chosen, max_rows, first))
    }

    /// [`ParquetFile::open`], which panics on some damaged files. With `first`, only `max_rows`
    /// rows from that one are read, and no row groups before it.
    fn open_unguarded(
        path: &Path,
        chosen: Option<&[String]>,
        max_rows: usize,
        first: Option<u64>,
    ) -> Result<ParquetFile, DataError> {
        let unreadable =
            |error| DataError::file(path, format!("cannot be read as parquet: {error}"));
        let file = File::open(path).map_err(|error| DataError::io(path, error))?;
        // An Arrow schema in the metadata may ask for dictionaries and views. Without it the same
        // values are read as the plain types that `values` handles.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let mut builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
            .map_err(unreadable)?;
        if let Some(first) = first {
            let groups = builder.metadata().row_groups();
            let (mut group, mut before) = (0, 0);
            while groups.get(group).is_some_and(|it| before + it.num_rows() as u64 <= first) {
                before += groups[group].num_rows() as u64;
                group += 1;
            }
            let left = (group..groups.len()).collect();
            let skipped = (first - before) as usize;
            builder = builder.with_row_groups(left).with_offset(skipped).with_limit(max_rows);
        }
        let Selection { names, chosen, indices } =
            Selection::new(path, builder.schema().fields(), chosen)?;
        let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
        let batches =
            builder.with_projection(mask).with_batch_size(max_rows).build().map_err(unreadable)?;
        Ok(ParquetFile { path: path.to_owned(), batches, names, chosen, rows_before: 0 })
    }

    /// Names of all columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The next chunk; `None` at the end of the file.
    pub(crate) fn next_rows(&mut self) -> Result<Option<Chunk>, DataError> {
        let (path, before) = (self.path.clone(), self.rows_before);
        let damaged = || format!("damaged: cannot be read after row {before}");
        // After a panic, nothing more is read from this file.
        guarded(&path, damaged, || self.next_rows_unguarded())
    }

    /// [`ParquetFile::next_rows`], which panics on some damaged files.
    fn next_rows_unguarded(&mut self) -> Result<Option<Chunk>, DataError> {
        let Some(batch) = self.batches.next() else { return Ok(None) };
        let batch = batch.map_err(|error| {
            let message = format!("cannot be read after row {}: {error}", self.rows_before);
            DataError::file(&self.path, message)
        })?;
        self.rows_before += batch.num_rows() as u64;
        Ok(Some(chunk(&batch, &self.chosen)))
    }
}
