//! Searches in rows that files keep.

use crate::buffer::Buffer;
use crate::cpu::top_k::{GROUP, OFFSET, Row, StoredSearch, round_rows};
use crate::device::{Device, Kind};
use crate::ops::top_k::Corpus;
use crate::settings::rows::{RowSource, Skipped};
use crate::settings::similarity::{Neighbour, Similarity, nearer_first};
use crate::view::View;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// Rows rounded to bytes, and what bounds the rounding: what a search reads of every row.
///
/// A row depends on no other, so that a corpus can be rounded block by block and blocks can be
/// appended.
///
/// # Layout
/// Version 1 ([`ByteRows::VERSION`]), the same for every instruction set:
///
/// - `bytes`: row-major; a row has [`ByteRows::bytes_of_row`] bytes, which is its elements up to a
///   multiple of 4. A byte `b` stands for `scale * (b - 128)`; those beyond the last element
///   are 128.
/// - `terms`: four `f32` for each row, in the byte order of the machine that reads them
///   (little-endian in files): -2, or minus infinity for a row that bytes do not bound; one over
///   `scale`; an upper bound of the norm of the row's rounding error; an upper bound of the norm of
///   `scale * (b - 128)`.
///
/// For cosines, a row is divided by its norm first. Bytes do not bound a row that has infinities or
/// NaN, or a norm above 1e12 where it is not divided by it: its score is always computed. Bytes are
/// limited so that sums of their products fit 16 bits: the sum of the squares of elements 0, 1, 4,
/// 5, ... 28, 29 of each 32 is at most 32,767, that of the other half too, and the magnitudes of
/// elements `2 i` and `2 i + 1` add up to at most 128. Other numbers give wrong results, but no
/// undefined behaviour.
#[derive(Clone)]
pub struct ByteRows<'a> {
    similarity: Similarity,
    columns: usize,
    bytes: Cow<'a, [u8]>,
    terms: Cow<'a, [Row]>,
}

impl<'a> ByteRows<'a> {
    /// The version of the layout.
    pub const VERSION: u32 = 1;

    /// Terms of a row.
    pub const TERMS_OF_ROW: usize = 4;

    /// Bytes of a row of `columns` elements.
    pub const fn bytes_of_row(columns: usize) -> usize {
        columns.next_multiple_of(GROUP)
    }

    /// Rounds `rows`, `N x E`, for searches by `similarity`; the same bits on every device. Waits
    /// for the device.
    ///
    /// # Panics
    /// When rows have no elements.
    pub fn round(similarity: Similarity, rows: View<'_>) -> ByteRows<'static> {
        let (count, columns) = (rows.rows(), rows.columns());
        assert!(columns > 0, "rows without elements");
        let mut bytes = vec![OFFSET; count * ByteRows::bytes_of_row(columns)];
        let mut terms = vec![Row::UNBOUNDED; count];
        let device = rows.device();
        let values = match device.kind() {
            Kind::Cpu(_) => Cow::Borrowed(rows.host(device).data),
            Kind::Reference(_) => Cow::Owned(rows.to_vec()),
        };
        round_rows(device.workers(), similarity, (&values, columns), &mut bytes, &mut terms);
        ByteRows { similarity, columns, bytes: Cow::Owned(bytes), terms: Cow::Owned(terms) }
    }

    /// Rows of `columns` elements that [`ByteRows::round`] made for `similarity`, as
    /// [`ByteRows::bytes`] and [`ByteRows::terms`] give them, such as those of a mapped file.
    ///
    /// # Panics
    /// When the lengths do not fit each other, or rows have no elements.
    pub fn borrowed(
        similarity: Similarity,
        columns: usize,
        bytes: &'a [u8],
        terms: &'a [f32],
    ) -> ByteRows<'a> {
        assert!(columns > 0, "rows without elements");
        let width = ByteRows::bytes_of_row(columns);
        let rows = terms.len() / ByteRows::TERMS_OF_ROW;
        assert!(
            terms.len() == rows * ByteRows::TERMS_OF_ROW && bytes.len() == rows * width,
            "{} terms and {} bytes of rows of {width} bytes",
            terms.len(),
            bytes.len()
        );
        let (bytes, terms) = (Cow::Borrowed(bytes), Cow::Borrowed(Row::of_terms(terms)));
        ByteRows { similarity, columns, bytes, terms }
    }

    /// The same bytes where nothing else is kept of the rows: what was lost in rounding is
    /// forgotten, and scores are those of the rounded rows, which [`RowSource::read`] gives.
    pub fn without_rows(self) -> ByteRows<'static> {
        let terms = self.terms.iter().map(|row| row.of_bytes_alone()).collect();
        let bytes = Cow::Owned(self.bytes.into_owned());
        ByteRows { bytes, terms: Cow::Owned(terms), ..self }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.terms.len()
    }

    /// Elements of a row.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// How rows are compared with queries.
    pub fn similarity(&self) -> Similarity {
        self.similarity
    }

    /// The bytes of all rows.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The terms of all rows.
    pub fn terms(&self) -> &[f32] {
        Row::to_terms(&self.terms)
    }
}

impl RowSource for ByteRows<'_> {
    /// The rounded rows: for cosines, of norm 1. Rows that bytes do not bound are NaN.
    fn read(&self, first: usize, rows: &mut [f32]) -> io::Result<()> {
        let width = ByteRows::bytes_of_row(self.columns);
        let bytes = self.bytes[first * width..].chunks_exact(width);
        let targets = rows.chunks_exact_mut(self.columns);
        for ((target, bytes), row) in targets.zip(bytes).zip(&self.terms[first..]) {
            let scale = if row.is_bounded() { row.scale() } else { f32::NAN };
            for (target, &byte) in target.iter_mut().zip(bytes) {
                *target = scale * f32::from((byte ^ OFFSET) as i8);
            }
        }
        Ok(())
    }
}

impl RowSource for View<'_> {
    fn read(&self, first: usize, rows: &mut [f32]) -> io::Result<()> {
        let count = rows.len() / self.columns().max(1);
        self.slice_rows(first..first + count).read(rows);
        Ok(())
    }
}

impl fmt::Debug for ByteRows<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ByteRows({} x {}, {:?})", self.rows(), self.columns, self.similarity)
    }
}

/// Rows in bytes that are searched, with scores of the rows themselves, which are elsewhere.
///
/// # Units
/// Memory: that of the bytes and terms, which every search reads whole, and of the rows that can be
/// among the best, one by one; beside them some KiB for each query.
pub struct StoredCorpus<'a> {
    device: &'a Device,
    bytes: &'a ByteRows<'a>,
    rows: &'a dyn RowSource,
    /// None where bytes do not propose rows.
    search: Option<StoredSearch<'a>>,
}

impl<'a> StoredCorpus<'a> {
    /// A corpus of `bytes`; `rows` has the rows that they were rounded from, or is `bytes` itself
    /// where nothing else was kept ([`ByteRows::without_rows`]).
    ///
    /// # Panics
    /// When there are more rows than a [`Neighbour`] can number.
    ///
    /// # Examples
    /// ```
    /// use rankforge_kernels::ops::{ByteRows, Similarity, Skipped, StoredCorpus};
    /// use rankforge_kernels::{Buffer, Device};
    ///
    /// let device = Device::cpu(Some(1))?;
    /// let rows = Buffer::upload(&device, 3, 2, &[1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
    /// let stored = ByteRows::round(Similarity::Cosine, rows.view());
    /// // As from a file:
    /// let mapped = ByteRows::borrowed(Similarity::Cosine, 2, stored.bytes(), stored.terms());
    /// let rows = rows.view();
    /// let corpus = StoredCorpus::new(&device, &mapped, &rows);
    /// let query = Buffer::upload(&device, 1, 2, &[0.0, 2.0]);
    /// let without_row_1 = Skipped(&[0b10]);
    /// let found = corpus.top_k(query.view(), 2, without_row_1, &|_| ())?;
    /// assert_eq!(found[0].iter().map(|row| row.index).collect::<Vec<_>>(), [2, 0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        device: &'a Device,
        bytes: &'a ByteRows<'a>,
        rows: &'a dyn RowSource,
    ) -> StoredCorpus<'a> {
        assert!(u32::try_from(bytes.rows()).is_ok(), "{bytes:?} has more rows than 32 bits number");
        let search = match device.kind() {
            Kind::Cpu(cpu) => {
                let stored = (&*bytes.bytes, &*bytes.terms);
                StoredSearch::new(cpu, bytes.similarity, bytes.columns, stored)
            }
            Kind::Reference(_) => None,
        };
        StoredCorpus { device, bytes, rows, search }
    }

    /// The `k` best rows for each query, best first, ties by lower index, without those that are
    /// `skipped`; all others when there are fewer.
    ///
    /// Scores are those of [`Corpus::top_k`] over the same rows. By cosines and dot products, on
    /// every instruction set but `Isa::Scalar`, the bytes of all rows are read, and those rows that
    /// can be among the best; otherwise all rows, in blocks of 16 MiB.
    ///
    /// `done` is called with the number of queries finished since the last call, from any thread.
    ///
    /// Waits for the device.
    ///
    /// # Shapes
    /// `queries`: `Q x E`; the result has `Q` lists.
    ///
    /// # Errors
    /// When a row cannot be read.
    ///
    /// # Panics
    /// When the queries have another number of columns.
    pub fn top_k(
        &self,
        queries: View<'_>,
        k: usize,
        skipped: Skipped<'_>,
        done: &(dyn Fn(usize) + Sync),
    ) -> io::Result<Vec<Vec<Neighbour>>> {
        let rows = self.bytes.rows();
        assert_eq!(queries.columns(), self.bytes.columns, "{queries:?} against {:?}", self.bytes);
        let k = k.min(rows - skipped.count(rows));
        if k == 0 {
            done(queries.rows());
            return Ok(vec![Vec::new(); queries.rows()]);
        }
        match (self.device.kind(), &self.search) {
            (Kind::Cpu(cpu), Some(search)) => {
                search.search(cpu, (queries.host(self.device), k), self.rows, skipped, done)
            }
            _ => self.scan(queries, k, skipped, done),
        }
    }

    /// [`StoredCorpus::top_k`] by the scores of all rows.
    fn scan(
        &self,
        queries: View<'_>,
        k: usize,
        skipped: Skipped<'_>,
        done: &(dyn Fn(usize) + Sync),
    ) -> io::Result<Vec<Vec<Neighbour>>> {
        /// Elements of a block.
        const BLOCK: usize = 1 << 22;
        let ByteRows { similarity, columns, .. } = *self.bytes;
        let mut found = vec![Vec::new(); queries.rows()];
        let block = (BLOCK / columns).max(1);
        for first in (0..self.bytes.rows()).step_by(block) {
            let rows = (self.bytes.rows() - first).min(block);
            let mut values = vec![0.0; rows * columns];
            self.rows.read(first, &mut values)?;
            let corpus =
                Corpus::prepare(similarity, Buffer::from_vec(self.device, rows, columns, values));
            let also = skipped.count(first + rows) - skipped.count(first);
            let of_block = corpus.top_k(queries, k + also, &|_| ());
            for (found, of_block) in found.iter_mut().zip(of_block) {
                let shifted = of_block
                    .into_iter()
                    .map(|row| Neighbour { index: row.index + first as u32, ..row });
                found.extend(shifted.filter(|row| !skipped.contains(row.index as usize)));
                found.sort_by(nearer_first);
                found.truncate(k);
            }
        }
        done(queries.rows());
        Ok(found)
    }
}
