use crate::chunk::BlockStart;
use crate::error::DataError;
use crate::json_file::JsonFile;
use crate::parquet_file::ParquetFile;
use crate::reader::{Location, RowReader};
use crate::rows::Rows;
use crate::source::{BlockOrder, RowSource};
use crate::value::Value;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Number of blocks that a shuffle buffer holds.
const BLOCKS: usize = 16;

/// Rows of jsonl or parquet files that stay there: only those of a shuffle buffer are in memory,
/// and 24 bytes for each block of a sixteenth of it.
pub struct StreamedRows {
    source: Arc<Path>,
    files: Vec<PathBuf>,
    columns: Vec<String>,
    blocks: Vec<Block>,
    rows: usize,
    /// The blocks that were read last, newest last.
    recent: Mutex<VecDeque<(usize, Arc<Rows>)>>,
}

/// Consecutive rows of one file.
#[derive(Clone, Copy, Debug)]
struct Block {
    first_row: usize,
    /// Index of the file.
    file: u32,
    start: BlockStart,
}

impl StreamedRows {
    /// Reads the files once, to find the blocks. `shuffle_buffer` is the number of rows that are in
    /// memory at a time.
    ///
    /// # Errors
    /// The errors of [`load_rows`](crate::load_rows()); a file that is neither parquet nor one JSON
    /// object per line.
    ///
    /// # Panics
    /// When `shuffle_buffer` is 0.
    pub fn open(location: &Location, shuffle_buffer: usize) -> Result<StreamedRows, DataError> {
        assert!(shuffle_buffer > 0, "a shuffle buffer of 0 rows");
        let mut reader = RowReader::open(location, shuffle_buffer.div_ceil(BLOCKS))?;
        let (mut files, mut blocks, mut rows) = (Vec::<PathBuf>::new(), Vec::new(), 0);
        while let Some(chunk) = reader.next() {
            let chunk = chunk?;
            let (path, start) = reader.last_chunk();
            let start = start.ok_or_else(|| {
                let message = "cannot be streamed: only parquet files can, and uncompressed files \
                               with one JSON object per line";
                DataError::file(path, message)
            })?;
            if files.last().is_none_or(|last| last != path) {
                files.push(path.to_owned());
            }
            let file = u32::try_from(files.len() - 1).expect("fewer than 2^32 files");
            blocks.push(Block { first_row: rows, file, start });
            rows += chunk.len();
        }
        if rows == 0 {
            return Err(DataError::file(&location.path, "expected at least one row, got none"));
        }
        Ok(StreamedRows {
            source: location.path.as_path().into(),
            files,
            columns: reader.column_names().into_iter().map(str::to_owned).collect(),
            blocks,
            rows,
            recent: Mutex::default(),
        })
    }

    /// The rows of a block, from memory if it is one of those that were read last.
    fn block(&self, index: usize) -> Result<Arc<Rows>, DataError> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let found = match recent.iter().position(|(other, _)| *other == index) {
            Some(at) => recent.remove(at).expect("found there"),
            None => {
                if recent.len() >= BLOCKS {
                    recent.pop_front();
                }
                (index, Arc::new(self.read_block(index)?))
            }
        };
        let rows = found.1.clone();
        recent.push_back(found);
        Ok(rows)
    }

    fn read_block(&self, index: usize) -> Result<Rows, DataError> {
        let Block { file, start, .. } = self.blocks[index];
        let (path, columns) = (&self.files[file as usize], Some(&self.columns[..]));
        let expected = self.range(index).len();
        let mut source: Box<dyn FnMut(usize) -> _> = match start {
            BlockStart::Line { byte, line } => {
                let mut lines = JsonFile::open_at(path, byte, line, &self.columns)?;
                Box::new(move |left| lines.next_rows(left))
            }
            BlockStart::Row(row) => {
                let mut batches = ParquetFile::open_at(path, columns, row, expected)?;
                Box::new(move |_| batches.next_rows())
            }
        };
        let mut rows = Rows::default();
        while rows.len() < expected {
            let Some(chunk) = source(expected - rows.len())? else { break };
            let mut found = chunk.columns;
            let column = |name: &String| {
                let at = found.iter().position(|(other, _)| other == name);
                let mut values = at.map_or_else(Vec::new, |at| found.swap_remove(at).1);
                values.resize(chunk.rows, Value::Null);
                (name.clone(), values)
            };
            let columns = self.columns.iter().map(column).collect();
            rows.append(Rows::new(columns)?)?;
        }
        if rows.len() != expected {
            let message = "has other rows than when it was opened; a file that is trained on must \
                           stay as it is";
            return Err(DataError::file(path, message));
        }
        Ok(rows)
    }

    /// The rows of a block.
    fn range(&self, index: usize) -> std::ops::Range<usize> {
        let end = self.blocks.get(index + 1).map_or(self.rows, |next| next.first_row);
        self.blocks[index].first_row..end
    }
}

impl RowSource for StreamedRows {
    fn len(&self) -> usize {
        self.rows
    }

    fn source(&self) -> Option<&Path> {
        Some(&self.source)
    }

    fn column_names(&self) -> Vec<String> {
        self.columns.clone()
    }

    fn read(&self, rows: &[usize]) -> Result<Rows, DataError> {
        let mut columns: Vec<(String, Vec<Value>)> = self
            .columns
            .iter()
            .map(|name| (name.clone(), Vec::with_capacity(rows.len())))
            .collect();
        for &row in rows {
            assert!(row < self.rows, "row {row} of {}", self.rows);
            let index = self.blocks.partition_point(|block| block.first_row <= row) - 1;
            let block = self.block(index)?;
            let at = row - self.blocks[index].first_row;
            for ((_, values), (_, of_block)) in columns.iter_mut().zip(block.columns()) {
                values.push(of_block[at].clone());
            }
        }
        Ok(Rows::new(columns)?.read_from(&self.source))
    }

    fn blocks(&self) -> Option<BlockOrder> {
        let blocks = (0..self.blocks.len()).map(|index| self.range(index)).collect();
        Some(BlockOrder { blocks, together: BLOCKS })
    }
}
