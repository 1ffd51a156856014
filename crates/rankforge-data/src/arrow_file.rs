//! Arrow IPC files: files with an index of their batches (Feather of version 2), and streams, as
//! `save_to_disk` of the `datasets` library writes. Both are read as streams, from their beginning.

use crate::arrow_messages::first_message;
use crate::arrow_values::{Selection, chunk, guarded};
use crate::chunk::Chunk;
use crate::error::DataError;
use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_schema::FieldRef;
use std::fs::File;
use std::io::{BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Reads the rows of one file.
pub(crate) struct ArrowFile {
    path: PathBuf,
    batches: StreamReader<BufReader<File>>,
    /// The rest of a batch.
    batch: Option<RecordBatch>,
    /// Names of all columns.
    names: Vec<String>,
    /// The chosen columns that the file has.
    chosen: Vec<FieldRef>,
    /// Number of rows that were returned so far.
    rows_before: u64,
}

impl ArrowFile {
    /// Opens a file. `None` as `chosen` chooses all columns; columns that it lacks are left out.
    pub(crate) fn open(path: &Path, chosen: Option<&[String]>) -> Result<ArrowFile, DataError> {
        let damaged = || "damaged: cannot be read as Arrow".to_owned();
        guarded(path, damaged, || ArrowFile::open_unguarded(path, chosen))
    }

    /// [`ArrowFile::open`], which panics on some damaged files.
    fn open_unguarded(path: &Path, chosen: Option<&[String]>) -> Result<ArrowFile, DataError> {
        let io = |error| DataError::io(path, error);
        let unreadable =
            |message: String| DataError::file(path, format!("cannot be read as Arrow: {message}"));
        let file = File::open(path).map_err(io)?;
        let first = first_message(&file).map_err(unreadable)?;
        let open = |indices| {
            let mut input = BufReader::new(file.try_clone().map_err(io)?);
            input.seek(SeekFrom::Start(first)).map_err(io)?;
            StreamReader::try_new(input, indices).map_err(|error| unreadable(error.to_string()))
        };
        let schema = open(None)?.schema();
        let Selection { names, chosen, indices } = Selection::new(path, schema.fields(), chosen)?;
        let batches = open(Some(indices))?;
        Ok(ArrowFile { path: path.to_owned(), batches, batch: None, names, chosen, rows_before: 0 })
    }

    /// Names of all columns.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// At most `max_rows` further rows; `None` at the end of the file.
    pub(crate) fn next_rows(&mut self, max_rows: usize) -> Result<Option<Chunk>, DataError> {
        let (path, before) = (self.path.clone(), self.rows_before);
        let damaged = || format!("damaged: cannot be read after row {before}");
        // After a panic, nothing more is read from this file.
        guarded(&path, damaged, || self.next_rows_unguarded(max_rows))
    }

    /// [`ArrowFile::next_rows`], which panics on some damaged files.
    fn next_rows_unguarded(&mut self, max_rows: usize) -> Result<Option<Chunk>, DataError> {
        let batch = loop {
            let batch = self.batch.take().map(Ok).or_else(|| self.batches.next()).transpose();
            let batch = batch.map_err(|error| {
                let message = format!("cannot be read after row {}: {error}", self.rows_before);
                DataError::file(&self.path, message)
            })?;
            match batch {
                None => return Ok(None),
                Some(batch) if batch.num_rows() == 0 => {}
                Some(batch) => break batch,
            }
        };
        let rows = batch.num_rows().min(max_rows);
        if rows < batch.num_rows() {
            self.batch = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        self.rows_before += rows as u64;
        Ok(Some(chunk(&batch.slice(0, rows), &self.chosen)))
    }
}
