use crate::value::Value;

/// Rows of one file. Unlike [`Rows`](crate::rows::Rows) they can have no column: a file may lack
/// all that were chosen.
pub(crate) struct Chunk {
    pub(crate) rows: usize,
    /// Name and values of each column that the file has.
    pub(crate) columns: Vec<(String, Vec<Value>)>,
}
