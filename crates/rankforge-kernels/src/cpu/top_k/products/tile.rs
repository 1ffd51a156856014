//! A panel of queries, a few rows, and what comes of their product.

use crate::cpu::top_k::bytes::{GROUP, Row};

/// Queries of a panel: the columns of a tile.
pub(crate) const QUERIES: usize = 64;

/// Rows of the corpus in a tile.
pub(crate) const ROWS: usize = 6;

/// Queries of a line.
pub(super) const LINE: usize = 16;

/// Lines of a group of a panel.
pub(super) const LINES: usize = QUERIES / LINE;

/// Four bytes of each of 16 queries: a group of their elements, or the sums that a stretch of
/// groups begins with, which remove what [`OFFSET`] adds.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(super) [[u8; GROUP]; LINE]);

/// The terms of the comparison for each query of a panel, in units of its scale.
#[derive(Clone)]
#[repr(C, align(64))]
pub(crate) struct Thresholds {
    /// The score to reach.
    pub(crate) score: [f32; QUERIES],
    /// Norm of the query: 1.
    pub(crate) length: [f32; QUERIES],
    /// Norm of the rounding error.
    pub(crate) lost: [f32; QUERIES],
}

/// The sums of a tile that reach their thresholds.
pub(crate) struct Hits {
    /// For each row, a bit for each query.
    pub(crate) masks: [u64; ROWS],
    /// The sums of products; unspecified where no bit is set.
    pub(crate) sums: [[i32; QUERIES]; ROWS],
}

/// A panel of queries and `ROWS` rows.
#[derive(Clone, Copy)]
pub(crate) struct Tile<'a> {
    /// The queries, packed by `ByteProducts::pack`.
    pub(crate) panel: &'a [Line],
    /// How many queries the panel has; sums with others may be left out.
    pub(crate) queries: usize,
    pub(crate) thresholds: &'a Thresholds,
    /// The rows, each byte plus `bytes::OFFSET`.
    pub(crate) bytes: &'a [u8],
    pub(crate) rows: &'a [Row; ROWS],
}

/// The largest error terms of the rows of a tile, so that one threshold serves all of them.
#[derive(Clone, Copy)]
pub(super) struct RowError {
    pub(super) lost: f32,
    pub(super) length: f32,
}

impl Tile<'_> {
    /// Groups of bytes of a row.
    #[inline(always)]
    pub(super) fn groups(&self) -> usize {
        self.bytes.len() / (ROWS * GROUP)
    }

    #[inline(always)]
    pub(super) fn largest_error(&self) -> RowError {
        // One instruction each; `f32::max` takes three, as it looks for NaN.
        let larger = |a: f32, b: f32| if a > b { a } else { b };
        let mut error = RowError { lost: 0.0, length: 0.0 };
        for row in self.rows {
            error.lost = larger(row.lost, error.lost);
            error.length = larger(row.length, error.length);
        }
        error
    }
}
