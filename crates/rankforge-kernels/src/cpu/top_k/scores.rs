//! The score of a query and a row, in `f64`, from rows in memory or elsewhere.

use crate::cpu::matrix::Matrix;
use crate::cpu::top_k::exact::norm;
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
            ExactRows::Source(source) => {
                thread_local! {
                    static ROW: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
                }
                ROW.with_borrow_mut(|row| {
                    row.resize(query.len(), 0.0);
                    match source.read(index as usize, row) {
                        Ok(()) => self.score(query, length, index, row),
                        Err(error) => {
                            let mut failed =
                                self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                            failed.get_or_insert(error);
                            f32::NEG_INFINITY
                        }
                    }
                })
            }
        }
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
