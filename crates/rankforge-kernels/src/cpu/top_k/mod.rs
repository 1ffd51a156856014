//! The best rows of a corpus for each query.
//!
//! There are two searches, both in blocks of queries. `scan` computes every score in `f32`.
//! `propose` bounds every score by products of bytes, where the machine has an instruction for
//! them, and computes in `f64` those that can be among the best.

mod blocks;
#[cfg(target_arch = "x86_64")]
mod bytes;
#[cfg(target_arch = "x86_64")]
mod candidates;
mod exact;
#[cfg(target_arch = "x86_64")]
mod propose;
mod scan;
#[cfg(target_arch = "x86_64")]
mod vnni;

pub(crate) use exact::pairwise_similarity;

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::settings::similarity::{Neighbour, Similarity};

/// What is computed of the rows before the first search.
pub(crate) enum Prepared {
    Scan(scan::Prepared),
    #[cfg(target_arch = "x86_64")]
    Propose(propose::Prepared),
}

impl Prepared {
    pub(crate) fn new(cpu: &Cpu, similarity: Similarity, corpus: Matrix<'_>) -> Prepared {
        #[cfg(target_arch = "x86_64")]
        if let Some(prepared) = propose::Prepared::new(cpu, similarity, corpus) {
            return Prepared::Propose(prepared);
        }
        Prepared::Scan(scan::Prepared::new(cpu, similarity, corpus))
    }
}

/// The `k` best rows of `corpus` for each query; `k` is at least 1 and at most all rows.
pub(crate) fn search(
    cpu: &Cpu,
    prepared: &Prepared,
    similarity: Similarity,
    queries: Matrix<'_>,
    corpus: Matrix<'_>,
    k: usize,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    match prepared {
        Prepared::Scan(prepared) => {
            scan::search(cpu, prepared, similarity, queries, corpus, k, done)
        }
        #[cfg(target_arch = "x86_64")]
        Prepared::Propose(prepared) => {
            propose::search(cpu, prepared, similarity, queries, corpus, k, done)
        }
    }
}
