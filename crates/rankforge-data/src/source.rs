use crate::error::DataError;
use crate::rows::Rows;
use std::ops::Range;
use std::path::Path;

/// In which order rows that are not all in memory are shuffled: blocks in random order, and the
/// rows of as many blocks as are in memory together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BlockOrder {
    /// Consecutive ranges of rows, which are read at once.
    pub blocks: Vec<Range<usize>>,
    /// Number of blocks whose rows are in memory at a time.
    pub together: usize,
}

/// A table whose rows can be read by index, in memory or elsewhere. Training draws its batches from
/// one.
pub trait RowSource: Send + Sync {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file or directory that the rows were read from, for messages; `None` where there is
    /// none.
    fn source(&self) -> Option<&Path> {
        None
    }

    /// The blocks in which rows are read, where they are not all in memory.
    fn blocks(&self) -> Option<BlockOrder> {
        None
    }

    /// Column names, in order.
    fn column_names(&self) -> Vec<String>;

    /// Reads the rows at these indices, in this order, with all columns. An index may occur more
    /// than once.
    ///
    /// # Errors
    /// When a row cannot be read.
    ///
    /// # Panics
    /// When an index is not less than [`RowSource::len`].
    fn read(&self, rows: &[usize]) -> Result<Rows, DataError>;
}

impl RowSource for Rows {
    fn len(&self) -> usize {
        Rows::len(self)
    }

    fn source(&self) -> Option<&Path> {
        Rows::source(self)
    }

    fn column_names(&self) -> Vec<String> {
        Rows::column_names(self).into_iter().map(str::to_owned).collect()
    }

    fn read(&self, rows: &[usize]) -> Result<Rows, DataError> {
        Ok(self.select(rows))
    }
}
