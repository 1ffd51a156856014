//! The best rows of a corpus for each query.
//!
//! There are two searches. `scan` computes every score in `f32`. `by_bytes` bounds every score by
//! products of bytes, and computes in `f64` those that can be among the best: for cosines and dot
//! products, on every instruction set but the scalar one; `few` does so for few queries.

mod blocks;
#[cfg(target_arch = "x86_64")]
mod by_bytes;
mod bytes;
#[cfg(target_arch = "x86_64")]
mod candidates;
mod exact;
#[cfg(target_arch = "x86_64")]
mod few;
#[cfg(target_arch = "x86_64")]
mod products;
#[cfg(target_arch = "x86_64")]
mod propose;
#[cfg(target_arch = "x86_64")]
mod queries;
#[cfg(target_arch = "x86_64")]
mod rounded;
mod scan;
#[cfg(target_arch = "x86_64")]
mod scores;
mod stored;

pub(crate) use bytes::{GROUP, OFFSET, Row};
pub(crate) use exact::pairwise_similarity;
pub(crate) use stored::{StoredSearch, round_rows};

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::settings::rows::Skipped;
use crate::settings::similarity::{Neighbour, SearchOf, Similarity};

/// Which search it will be, and what it computes from the rows beforehand.
pub(crate) enum PreparedSearch {
    Scan(scan::ReciprocalNorms),
    #[cfg(target_arch = "x86_64")]
    Propose(Box<rounded::RoundedCorpus<'static>>),
}

impl PreparedSearch {
    pub(crate) fn new(cpu: &Cpu, similarity: Similarity, corpus: Matrix<'_>) -> PreparedSearch {
        #[cfg(target_arch = "x86_64")]
        if let Some(prepared) = rounded::RoundedCorpus::new(cpu, similarity, corpus) {
            return PreparedSearch::Propose(Box::new(prepared));
        }
        PreparedSearch::Scan(scan::ReciprocalNorms::new(cpu, similarity, corpus))
    }
}

/// The `k` best rows of the corpus for each query.
pub(crate) fn search(
    cpu: &Cpu,
    prepared: &PreparedSearch,
    search: SearchOf<Matrix<'_>>,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    match prepared {
        PreparedSearch::Scan(prepared) => scan::search(cpu, prepared, search, done),
        #[cfg(target_arch = "x86_64")]
        PreparedSearch::Propose(prepared) => {
            let SearchOf { queries, corpus, k, .. } = search;
            let rows = scores::ExactRows::Matrix(corpus);
            let search = by_bytes::ProposedSearch { queries, rows, skipped: Skipped(&[]), k };
            let found = by_bytes::search(cpu, prepared, search, done);
            found.expect("rows in memory can be read")
        }
    }
}
