//! Matrices in memory of the reference device.

use crate::reference::memory::{Integers, Slice, SliceMut};
use crate::shape::elements as elements_of;
use std::ops::Range;

/// A `rows x columns` matrix that is read, row-major.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    elements: Slice<'a>,
}

impl<'a> Matrix<'a> {
    pub(crate) fn new(rows: usize, columns: usize, elements: Slice<'a>) -> Matrix<'a> {
        assert_eq!(
            elements.len(),
            elements_of(rows, columns),
            "elements of a {rows} x {columns} matrix"
        );
        Matrix { rows, columns, elements }
    }

    /// The element at a row and a column.
    pub(super) fn at(self, row: usize, column: usize) -> f64 {
        f64::from(self.load(row, column))
    }

    /// [`Matrix::at`] as it is stored.
    pub(super) fn load(self, row: usize, column: usize) -> f32 {
        assert!(column < self.columns, "column {column} of {}", self.columns);
        self.elements.load(row * self.columns + column)
    }

    /// All pairs of a row and a column, row by row.
    pub(super) fn places(self) -> impl Iterator<Item = (usize, usize)> {
        places(self.rows, self.columns)
    }
}

/// A `rows x columns` matrix that is written, row-major.
pub(crate) struct MatrixMut<'a> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    elements: SliceMut<'a>,
}

impl<'a> MatrixMut<'a> {
    pub(crate) fn new(rows: usize, columns: usize, elements: SliceMut<'a>) -> MatrixMut<'a> {
        assert_eq!(
            elements.len(),
            elements_of(rows, columns),
            "elements of a {rows} x {columns} matrix"
        );
        MatrixMut { rows, columns, elements }
    }

    /// The element at a row and a column.
    pub(super) fn at(&self, row: usize, column: usize) -> f64 {
        assert!(column < self.columns, "column {column} of {}", self.columns);
        f64::from(self.elements.as_slice().load(row * self.columns + column))
    }

    /// Stores an element, rounded to the nearest `f32`.
    pub(super) fn put(&mut self, row: usize, column: usize, value: f64) {
        assert!(column < self.columns, "column {column} of {}", self.columns);
        self.elements.store(row * self.columns + column, value as f32);
    }

    /// Adds to an element, rounding the sum to the nearest `f32`.
    pub(super) fn add(&mut self, row: usize, column: usize, value: f64) {
        self.put(row, column, self.at(row, column) + value);
    }

    /// Sets every element to `value`.
    pub(crate) fn fill(mut self, value: f32) {
        for index in 0..self.elements.len() {
            self.elements.store(index, value);
        }
    }

    /// All pairs of a row and a column, row by row.
    pub(super) fn places(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        places(self.rows, self.columns)
    }
}

fn places(rows: usize, columns: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..rows).flat_map(move |row| (0..columns).map(move |column| (row, column)))
}

/// The sequences of a ragged batch.
#[derive(Clone, Copy)]
pub(crate) struct Sequences<'a> {
    /// Cumulative lengths: `B + 1` numbers from 0 to `T`.
    cu_seqlens: &'a Integers,
}

impl<'a> Sequences<'a> {
    pub(crate) fn new(cu_seqlens: &'a Integers) -> Sequences<'a> {
        Sequences { cu_seqlens }
    }

    /// Number of sequences, `B`.
    pub(super) fn count(self) -> usize {
        self.cu_seqlens.len() - 1
    }

    /// Number of tokens, `T`.
    pub(super) fn tokens(self) -> usize {
        self.cu_seqlens.at(self.count())
    }

    /// The tokens of one sequence.
    pub(super) fn range(self, sequence: usize) -> Range<usize> {
        self.cu_seqlens.at(sequence)..self.cu_seqlens.at(sequence + 1)
    }

    /// Length of the longest sequence, `L`.
    pub(super) fn longest(self) -> usize {
        (0..self.count()).map(|sequence| self.range(sequence).len()).max().unwrap_or(0)
    }

    /// The sequence of a token.
    pub(super) fn of_token(self, token: usize) -> usize {
        let mut all = 0..self.count();
        all.find(|&sequence| self.range(sequence).contains(&token)).expect("a token of the batch")
    }
}
