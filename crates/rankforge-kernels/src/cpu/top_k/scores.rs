//! The score of a query and a row, in `f64`, from rows in memory or elsewhere.

use crate::cpu::matrix::Matrix;
use crate::cpu::top_k::bytes::ROOM;
use crate::cpu::top_k::exact::{dot_bytes, norm};
use crate::cpu::top_k::products::{ByteProducts, prefetch};
use crate::cpu::top_k::rounded::RoundedCorpus;
use crate::isa::Supported;
use crate::settings::norm::LEAST_NORM;
use crate::settings::rows::RowSource;
use crate::settings::similarity::Similarity;
use std::cell::RefCell;
use std::io;
use std::sync::{Mutex, PoisonError};

/// Where the rows are of which scores are computed.
pub(crate) enum ExactRows<'a> {
    /// In memory.
    Matrix(Matrix<'a>),
    /// Elsewhere, in rows of as many elements as queries have.
    Source(&'a dyn RowSource),
}

thread_local! {
    /// A row that is not in memory.
    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Computes scores.
pub(super) struct Scores<'a> {
    isa: Supported,
    products: ByteProducts,
    similarity: Similarity,
    norms: Option<&'a [f64]>,
    rows: ExactRows<'a>,
    /// The first error of the source.
    failed: Mutex<Option<io::Error>>,
}

impl<'a> Scores<'a> {
    pub(super) fn new(
        isa: Supported,
        prepared: &'a RoundedCorpus<'_>,
        rows: ExactRows<'a>,
    ) -> Scores<'a> {
        let RoundedCorpus { products, similarity, .. } = *prepared;
        let norms = prepared.norms.as_deref();
        Scores { isa, products, similarity, norms, rows, failed: Mutex::new(None) }
    }

    /// A function that computes the score of any row for a query; NaN counts as minus infinity.
    pub(super) fn of<'s>(&'s self, query: &'s [f32]) -> impl Fn(u32) -> f32 + Sync + 's {
        let length = norm(self.isa, query);
        move |index| match &self.rows {
            ExactRows::Matrix(rows) => self.score(query, length, index, rows.row(index as usize)),
            ExactRows::Source(source) => ROW.with_borrow_mut(|row| {
                row.resize(query.len(), 0.0);
                match source.read(index as usize, row) {
                    Ok(()) => self.score(query, length, index, row),
                    Err(error) => {
                        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                        failed.get_or_insert(error);
                        f32::NEG_INFINITY
                    }
                }
            }),
        }
    }

    /// A function that bounds the score of any row by the product of its bytes with the query,
    /// which is not rounded: about half as far apart as where both are. None where rows are in
    /// memory, and a score is quick to compute; and for queries that bytes do not bound.
    pub(super) fn narrow_bounds(
        &self,
        query: &[f32],
        corpus: &RoundedCorpus<'_>,
    ) -> Option<impl Fn(u32) -> (f32, f32)> {
        let length = norm(self.isa, query);
        let (factor, weight) = match self.similarity {
            Similarity::Cosine => (1.0 / length, 1.0),
            _ => (corpus.longest, length * corpus.longest),
        };
        let in_memory = matches!(self.rows, ExactRows::Matrix(_));
        if in_memory || !length.is_finite() || !corpus.weights.contains(&weight) {
            return None;
        }
        Some(move |index| {
            let index = index as usize;
            let row = &corpus.terms[index];
            let bytes = &corpus.bytes[index * corpus.width..][..query.len()];
            let score = dot_bytes(self.isa, query, bytes) * f64::from(row.scale()) * factor;
            let bound = f64::from(row.lost) * weight * (1.0 + ROOM) + score.abs() * ROOM;
            ((score - bound) as f32, (score + bound) as f32)
        })
    }

    fn score(&self, query: &[f32], length: f64, index: u32, row: &[f32]) -> f32 {
        let sum = self.products.dot(query, row);
        let score = match self.similarity {
            Similarity::Cosine => sum / (length * self.norm(index, row)),
            _ => sum,
        } as f32;
        if score.is_nan() { f32::NEG_INFINITY } else { score }
    }

    /// Norm of a row, with the bits of `exact::norm`.
    fn norm(&self, index: u32, row: &[f32]) -> f64 {
        if let Some(norms) = self.norms {
            return norms[index as usize];
        }
        let length = self.products.dot(row, row).sqrt();
        // `max` would hide NaN.
        if length < LEAST_NORM { LEAST_NORM } else { length }
    }

    /// Prefetches a row, where that is possible.
    pub(super) fn prefetch(&self, index: u32) {
        if let ExactRows::Matrix(rows) = &self.rows {
            prefetch(rows.row(index as usize));
        }
    }

    /// The first error met in reading rows, if there was one.
    pub(super) fn finish(self) -> io::Result<()> {
        let failed = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        failed.map_or(Ok(()), Err)
    }
}
