//! The best rows of a corpus for each query.
//!
//! Two searches in blocks share this front: `scan` computes every score in `f32`; `propose` bounds
//! every score by products of bytes, where the machine has an instruction for them, and computes in
//! `f64` those that can be among the best.

#[cfg(target_arch = "x86_64")]
mod bytes;
#[cfg(target_arch = "x86_64")]
mod candidates;
#[cfg(target_arch = "x86_64")]
mod propose;
mod scan;
#[cfg(target_arch = "x86_64")]
mod vnni;

use crate::cpu::Cpu;
use crate::cpu::matrix::Matrix;
use crate::cpu::parallel::{INLINE_ELEMENTS, SharedRows, for_each};
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::isa::Supported;
use crate::ops::top_k::{LEAST_NORM, Neighbour, Similarity, nearer_first};
use rayon::prelude::*;
use std::ops::Range;

/// What a search needs of the rows beside themselves.
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

pub(crate) fn pairwise_similarity(
    cpu: &Cpu,
    similarity: Similarity,
    a: Matrix<'_>,
    b: Matrix<'_>,
) -> Vec<f32> {
    let columns = a.columns;
    let isa = cpu.isa();
    by_rows(cpu, a, |row| {
        let (a, b) = (&a.data[row * columns..][..columns], &b.data[row * columns..][..columns]);
        let score = match similarity {
            Similarity::Dot => dot(isa, a, b),
            Similarity::Cosine => dot(isa, a, b) / (norm(isa, a) * norm(isa, b)),
            Similarity::Euclidean => -sum(a, b, |a, b| (a - b) * (a - b)).sqrt(),
            Similarity::Manhattan => -sum(a, b, |a, b| (a - b).abs()),
        };
        score as f32
    })
}

/// Calls `search` for each block of at most `block` queries with the parts of the corpus that threads may take in
/// parallel: one where there are blocks enough, and otherwise several, of a multiple of `multiple` rows.
fn by_blocks(
    cpu: &Cpu,
    queries: Matrix<'_>,
    corpus: Matrix<'_>,
    (block, multiple): (usize, usize),
    done: &(dyn Fn(usize) + Sync),
    search: impl Fn(Range<usize>, Vec<Range<usize>>) -> Vec<Vec<Neighbour>> + Sync,
) -> Vec<Vec<Neighbour>> {
    /// Fewer rows of the corpus than these are not worth a part of their own.
    const LEAST_PART: usize = 2048;
    let blocks = queries.rows.div_ceil(block);
    // The order of neighbours is total, so the parts can be merged in any way with the same result.
    let parts = (4 * cpu.threads()).div_ceil(blocks.max(1));
    let part = corpus.rows.div_ceil(parts).max(LEAST_PART).next_multiple_of(multiple);
    let search_block = |number: usize| {
        let queries = number * block..((number + 1) * block).min(queries.rows);
        let parts = (0..corpus.rows).step_by(part);
        let parts = parts.map(|start| start..(start + part).min(corpus.rows)).collect();
        let lists = search(queries.clone(), parts);
        done(queries.len());
        lists
    };
    let found: Vec<Vec<Vec<Neighbour>>> = cpu
        .workers()
        .run(|| (0..blocks).into_par_iter().with_max_len(1).map(search_block).collect());
    found.into_iter().flatten().collect()
}

/// Cuts `list` to its `k` nearest, the farthest of them last.
fn prune(list: &mut Vec<Neighbour>, k: usize) {
    if list.len() > k {
        list.select_nth_unstable_by(k - 1, nearer_first);
        list.truncate(k);
    }
}

/// `f` of each row number of `x`, on all threads.
fn by_rows(cpu: &Cpu, x: Matrix<'_>, f: impl Fn(usize) -> f32 + Sync + Send) -> Vec<f32> {
    const BLOCK: usize = 256;
    let mut values = vec![0.0; x.rows];
    let shared = SharedRows::of_slice(&mut values, 1, x.rows);
    for_each(cpu, x.data.len() >= INLINE_ELEMENTS, x.rows.div_ceil(BLOCK), |block| {
        let rows = block * BLOCK..((block + 1) * BLOCK).min(x.rows);
        // SAFETY: blocks do not overlap.
        let values = unsafe { shared.part(0, rows.clone()) };
        for (value, row) in values.iter_mut().zip(rows) {
            *value = f(row);
        }
    });
    values
}

/// Length in `f64`, at least [`LEAST_NORM`].
fn norm(isa: Supported, x: &[f32]) -> f64 {
    let length = dot(isa, x, x).sqrt();
    // `max` would hide not-a-number.
    if length < LEAST_NORM { LEAST_NORM } else { length }
}

/// Sum of products in `f64`; the same bits on every instruction set, as the products are exact.
fn dot(isa: Supported, a: &[f32], b: &[f32]) -> f64 {
    dispatch(isa, Dot { a, b })
}

struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
}

impl Kernel for Dot<'_> {
    type Output = f64;

    #[inline(always)]
    fn run<S: Simd>(self) -> f64 {
        sum(self.a, self.b, |a, b| a * b)
    }
}

/// Interleaved sums: enough to hide the latency of additions.
const SUMS: usize = 32;

/// Sum of `f` over pairs in `f64`, in interleaved sums that vectorise.
#[inline(always)]
fn sum(a: &[f32], b: &[f32], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; SUMS];
    let (whole_a, rest_a) = a.as_chunks::<SUMS>();
    let (whole_b, rest_b) = b.as_chunks::<SUMS>();
    for (a, b) in whole_a.iter().zip(whole_b) {
        for lane in 0..SUMS {
            sums[lane] += f(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    for ((sum, &a), &b) in sums.iter_mut().zip(rest_a).zip(rest_b) {
        *sum += f(f64::from(a), f64::from(b));
    }
    total(sums)
}

/// Their sum, by halves.
#[inline(always)]
fn total(mut sums: [f64; SUMS]) -> f64 {
    let mut half = SUMS / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}
