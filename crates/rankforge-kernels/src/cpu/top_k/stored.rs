//! Rows in the layout of files, and searches in them.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::cpu::top_k::bytes::{GROUP, LONGEST, OFFSET, Rounding, Row, round};
use crate::cpu::top_k::exact::norm;
use crate::isa::Supported;
use crate::settings::rows::{RowSource, Skipped};
use crate::settings::similarity::{Neighbour, Similarity};
use crate::workers::Workers;
use rayon::prelude::*;
use std::io;

#[cfg(target_arch = "x86_64")]
use crate::cpu::top_k::{by_bytes, rounded, scores};

/// Rounds rows of `columns` elements to bytes, each plus [`OFFSET`], and computes their terms; the
/// same on every machine.
///
/// For cosines the rows are divided by their norms, otherwise not.
pub(crate) fn round_rows(
    workers: &Workers,
    similarity: Similarity,
    (values, columns): (&[f32], usize),
    bytes: &mut [u8],
    terms: &mut [Row],
) {
    /// Rows that a thread rounds at a time.
    const CHUNK: usize = 256;
    let width = columns.next_multiple_of(GROUP);
    let isa = Supported::best();
    let round_row = |((source, bytes), terms): ((&[f32], &mut [u8]), &mut Row)| {
        let norm = norm(isa, source);
        let divisor = if similarity == Similarity::Cosine { norm } else { 1.0 };
        if norm.is_finite() && norm <= LONGEST * divisor {
            let rounding = Rounding { factor: 1.0 / divisor, offset: OFFSET, narrow_sums: true };
            *terms = Row::new(&round(isa, source, rounding, bytes));
        }
    };
    workers.run(|| {
        let rows = values.par_chunks_exact(columns).zip(bytes.par_chunks_exact_mut(width));
        rows.zip(terms).with_min_len(CHUNK).for_each(round_row);
    });
}

/// A search in stored rows that are bounded by bytes.
pub(crate) struct StoredSearch<'a> {
    #[cfg(target_arch = "x86_64")]
    corpus: rounded::RoundedCorpus<'a>,
    #[cfg(not(target_arch = "x86_64"))]
    never: (std::convert::Infallible, &'a ()),
}

impl<'a> StoredSearch<'a> {
    /// Rows of `columns` elements; `None` where the machine cannot multiply bytes, or bytes do not
    /// bound the similarity.
    pub(crate) fn new(
        cpu: &Cpu,
        similarity: Similarity,
        columns: usize,
        (bytes, terms): (&'a [u8], &'a [Row]),
    ) -> Option<StoredSearch<'a>> {
        #[cfg(target_arch = "x86_64")]
        {
            let corpus = rounded::RoundedCorpus::borrowed(cpu, similarity, columns, bytes, terms)?;
            Some(StoredSearch { corpus })
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (cpu, similarity, columns, bytes, terms);
            None
        }
    }

    /// The `k` best rows for each query that are not skipped, with scores of `rows`.
    pub(crate) fn search(
        &self,
        cpu: &Cpu,
        (queries, k): (Matrix<'_>, usize),
        rows: &dyn RowSource,
        skipped: Skipped<'_>,
        done: &(dyn Fn(usize) + Sync),
    ) -> io::Result<Vec<Vec<Neighbour>>> {
        #[cfg(target_arch = "x86_64")]
        {
            let rows = scores::ExactRows::Source(rows);
            let search = by_bytes::ProposedSearch { queries, rows, skipped, k };
            by_bytes::search(cpu, &self.corpus, search, done)
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (cpu, queries, k, rows, skipped, done);
            match self.never.0 {}
        }
    }
}
