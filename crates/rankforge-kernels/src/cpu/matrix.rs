//! Matrices in host memory, as kernels take them.

use crate::shape::elements;
use std::ops::Range;

/// A `rows x columns` matrix that is read.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Row-major.
    pub(crate) data: &'a [f32],
}

impl<'a> Matrix<'a> {
    #[track_caller]
    pub(crate) fn new(rows: usize, columns: usize, data: &'a [f32]) -> Matrix<'a> {
        assert_eq!(data.len(), elements(rows, columns), "elements of a {rows} x {columns} matrix");
        Matrix { rows, columns, data }
    }

    /// All elements as a column, for operations that do not depend on the shape.
    pub(crate) fn flat(self) -> Matrix<'a> {
        Matrix { rows: self.data.len(), columns: 1, data: self.data }
    }

    /// One row.
    #[inline(always)]
    pub(crate) fn row(self, row: usize) -> &'a [f32] {
        &self.data[row * self.columns..][..self.columns]
    }

    /// The rows in `range`.
    pub(crate) fn slice_rows(self, range: Range<usize>) -> Matrix<'a> {
        let data = &self.data[range.start * self.columns..range.end * self.columns];
        Matrix { rows: range.len(), data, ..self }
    }
}

/// A `rows x columns` matrix that is written.
pub(crate) struct MatrixMut<'a> {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// Row-major.
    pub(crate) data: &'a mut [f32],
}

impl<'a> MatrixMut<'a> {
    #[track_caller]
    pub(crate) fn new(rows: usize, columns: usize, data: &'a mut [f32]) -> MatrixMut<'a> {
        assert_eq!(data.len(), elements(rows, columns), "elements of a {rows} x {columns} matrix");
        MatrixMut { rows, columns, data }
    }

    /// All elements as a column, for operations that do not depend on the shape.
    pub(crate) fn flat(self) -> MatrixMut<'a> {
        MatrixMut { rows: self.data.len(), columns: 1, data: self.data }
    }
}
