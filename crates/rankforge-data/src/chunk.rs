use crate::value::Value;

/// Rows of one file. Unlike [`Rows`](crate::rows::Rows) they can have no column: a file may lack
/// all that were chosen.
pub(crate) struct Chunk {
    pub(crate) rows: usize,
    /// Name and values of each column that the file has.
    pub(crate) columns: Vec<(String, Vec<Value>)>,
}

/// Where a block starts in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockStart {
    /// In a file of lines: the byte, and the number of the line.
    Line { byte: u64, line: u64 },
    /// In a parquet file: the row.
    Row(u64),
}
