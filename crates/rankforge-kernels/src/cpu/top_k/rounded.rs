//! A corpus in bytes, computed from its rows or borrowed from a file.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::cpu::top_k::bytes::{GROUP, LONGEST, OFFSET, Rounding, Row, round};
use crate::cpu::top_k::exact::norm;
use crate::cpu::top_k::products::{ByteProducts, ROWS, prefetch};
use crate::settings::norm::LEAST_NORM;
use crate::settings::similarity::Similarity;
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;

/// Least rows that a thread rounds at a time.
const CHUNK: usize = 256;

/// A sum of this number of products of bytes cannot overflow 32 bits.
const WIDEST: usize = 1 << 14;

/// The corpus in bytes, and what bounds the rounding.
pub(crate) struct RoundedCorpus<'a> {
    pub(super) products: ByteProducts,
    pub(super) similarity: Similarity,
    pub(super) rows: usize,
    /// Norms of the rows of the corpus; none for bytes that are borrowed.
    pub(super) norms: Option<Vec<f64>>,
    /// Norm of the longest row, by which rows are divided before rounding for dot products. For
    /// cosines 1, as each row is divided by its own norm; and 1 for bytes that are borrowed.
    pub(super) longest: f64,
    /// Weights of queries that go through bytes: outside, scores or products of scales may leave
    /// the range where `f32` has its full precision.
    pub(super) weights: Range<f64>,
    /// Bytes of a row, in whole groups.
    pub(super) width: usize,
    /// The rounded rows of the corpus, each byte plus [`OFFSET`].
    pub(super) bytes: Cow<'a, [u8]>,
    /// The terms of each row.
    pub(super) terms: Cow<'a, [Row]>,
    /// The rows after the last whole tile, padded to one.
    last_bytes: Vec<u8>,
    last_terms: [Row; ROWS],
}

impl<'a> RoundedCorpus<'a> {
    /// Rounds the rows to bytes; `None` where the machine cannot multiply bytes, or bytes do not
    /// bound the similarity.
    pub(super) fn new(
        cpu: &Cpu,
        similarity: Similarity,
        corpus: Matrix<'_>,
    ) -> Option<RoundedCorpus<'static>> {
        let (isa, products) = (cpu.isa(), products(cpu, similarity, corpus.columns)?);
        let mut norms = vec![0.0; corpus.rows];
        cpu.workers().run(|| {
            norms.par_iter_mut().with_min_len(CHUNK).enumerate().for_each(|(row, length)| {
                *length = norm(isa, corpus.row(row));
            });
        });
        let longest = match similarity {
            Similarity::Cosine => 1.0,
            _ => norms.iter().filter(|norm| norm.is_finite()).fold(LEAST_NORM, |a, &b| a.max(b)),
        };
        let width = corpus.columns.next_multiple_of(GROUP);
        let mut bytes = vec![OFFSET; corpus.rows * width];
        let mut terms = vec![Row::UNBOUNDED; corpus.rows];
        cpu.workers().run(|| {
            let rows = bytes.par_chunks_exact_mut(width).zip(&mut terms).zip(&norms);
            rows.with_min_len(CHUNK).enumerate().for_each(|(row, ((bytes, terms), &norm))| {
                if norm.is_finite() {
                    let divisor = if similarity == Similarity::Cosine { norm } else { longest };
                    let narrow_sums = products.has_narrow_sums();
                    let rounding = Rounding { factor: 1.0 / divisor, offset: OFFSET, narrow_sums };
                    *terms = Row::new(&round(isa, corpus.row(row), rounding, bytes));
                }
            });
        });
        let stored =
            Stored { similarity, width, bytes: Cow::Owned(bytes), terms: Cow::Owned(terms) };
        Some(RoundedCorpus {
            norms: Some(norms),
            longest,
            weights: 1e-20..1e37,
            ..RoundedCorpus::over(products, stored)
        })
    }

    /// Rows that are bytes already; `None` as for [`RoundedCorpus::new`].
    pub(crate) fn borrowed(
        cpu: &Cpu,
        similarity: Similarity,
        columns: usize,
        bytes: &'a [u8],
        terms: &'a [Row],
    ) -> Option<RoundedCorpus<'a>> {
        let products = products(cpu, similarity, columns)?;
        let (bytes, terms) = (Cow::Borrowed(bytes), Cow::Borrowed(terms));
        let width = columns.next_multiple_of(GROUP);
        Some(RoundedCorpus::over(products, Stored { similarity, width, bytes, terms }))
    }

    fn over(products: ByteProducts, stored: Stored<'a>) -> RoundedCorpus<'a> {
        let Stored { similarity, width, bytes, terms } = stored;
        let rows = terms.len();
        assert_eq!(bytes.len(), rows * width, "bytes of {rows} rows of {width}");
        let whole = rows - rows % ROWS;
        let mut last_bytes = vec![OFFSET; ROWS * width];
        last_bytes[..(rows - whole) * width].copy_from_slice(&bytes[whole * width..]);
        let mut last_terms = [Row::ABSENT; ROWS];
        last_terms[..rows - whole].copy_from_slice(&terms[whole..]);
        RoundedCorpus {
            products,
            similarity,
            rows,
            norms: None,
            longest: 1.0,
            weights: 1e-20..1e37 / (LONGEST * LONGEST),
            width,
            bytes,
            terms,
            last_bytes,
            last_terms,
        }
    }

    /// Prefetches a row.
    #[inline]
    pub(super) fn prefetch(&self, index: u32) {
        let index = index as usize;
        prefetch(&self.terms[index..=index]);
        prefetch(&self.bytes[index * self.width..(index + 1) * self.width]);
    }

    /// The bytes and terms of the tile that begins with the row `first`, a multiple of [`ROWS`].
    #[inline]
    pub(super) fn tile(&self, first: usize) -> (&[u8], &[Row; ROWS]) {
        match self.terms[first..].first_chunk() {
            Some(terms) => (&self.bytes[first * self.width..][..ROWS * self.width], terms),
            None => (&self.last_bytes, &self.last_terms),
        }
    }
}

/// Rounded rows and their layout.
struct Stored<'a> {
    similarity: Similarity,
    width: usize,
    bytes: Cow<'a, [u8]>,
    terms: Cow<'a, [Row]>,
}

/// How bytes are multiplied, where the machine can and products bound the similarity.
fn products(cpu: &Cpu, similarity: Similarity, columns: usize) -> Option<ByteProducts> {
    let bounded = matches!(similarity, Similarity::Cosine | Similarity::Dot);
    if !bounded || !(1..=WIDEST).contains(&columns) {
        return None;
    }
    ByteProducts::of(cpu.isa())
}
