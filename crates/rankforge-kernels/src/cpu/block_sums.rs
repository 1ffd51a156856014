//! Sums over the rows of a matrix, in an order that does not depend on the number of threads:
//! blocks of rows are summed on their own, and the sums of the blocks are added in order.

use crate::cpu::matrix::MatrixMut;
use crate::cpu::parallel::SplitRows;

/// Rows of a block.
pub(crate) const BLOCK_ROWS: usize = 64;

/// One row of partial sums for each block of [`BLOCK_ROWS`] rows.
pub(crate) struct BlockSums<'a>(MatrixMut<'a>);

impl<'a> BlockSums<'a> {
    /// The sums of blocks of `rows` rows, in `scratch`: `columns` elements for each block.
    pub(crate) fn new(rows: usize, columns: usize, scratch: &'a mut [f32]) -> BlockSums<'a> {
        BlockSums(MatrixMut::new(rows.div_ceil(BLOCK_ROWS), columns, scratch))
    }

    /// The sums of the one block that is left.
    pub(crate) fn into_sums(self) -> &'a mut [f32] {
        self.0.data
    }
}

impl SplitRows for BlockSums<'_> {
    fn split_rows(self, rows: usize) -> (Self, Self) {
        let (first, second) = self.0.split_rows(rows.div_ceil(BLOCK_ROWS));
        (BlockSums(first), BlockSums(second))
    }
}

/// `out += x`.
pub(crate) fn add_to(x: &[f32], out: &mut [f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += x;
    }
}
