//! The best rows of a corpus for each query.
//!
//! There are two searches, both in blocks of queries. `scan` computes every score in `f32`.
//! `propose` bounds every score by products of bytes, and computes in `f64` those that can be among
//! the best: for cosines and dot products, on every instruction set but the scalar one.

mod blocks;
#[cfg(target_arch = "x86_64")]
mod bytes;
#[cfg(target_arch = "x86_64")]
mod candidates;
mod exact;
#[cfg(target_arch = "x86_64")]
mod products;
#[cfg(target_arch = "x86_64")]
mod propose;
mod scan;

pub(crate) use exact::pairwise_similarity;

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::settings::similarity::{Neighbour, SearchOf, Similarity};

/// Which search it will be, and what it computes from the rows beforehand.
pub(crate) enum PreparedSearch {
    Scan(scan::ReciprocalNorms),
    #[cfg(target_arch = "x86_64")]
    Propose(propose::RoundedCorpus),
}

impl PreparedSearch {
    pub(crate) fn new(cpu: &Cpu, similarity: Similarity, corpus: Matrix<'_>) -> PreparedSearch {
        #[cfg(target_arch = "x86_64")]
        if let Some(prepared) = propose::RoundedCorpus::new(cpu, similarity, corpus) {
            return PreparedSearch::Propose(prepared);
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
        PreparedSearch::Propose(prepared) => propose::search(cpu, prepared, search, done),
    }
}
