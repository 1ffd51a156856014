//! The best rows of a corpus for each query.
//!
//! Two searches in blocks share this front: `scan` computes every score in `f32`; `propose` bounds every score by
//! products of bytes, where the machine has an instruction for them, and computes in `f64` those that can be among
//! the best.

#[cfg(target_arch = "x86_64")]
mod bytes;
#[cfg(target_arch = "x86_64")]
mod candidates;
#[cfg(target_arch = "x86_64")]
mod propose;
mod scan;
#[cfg(target_arch = "x86_64")]
mod vnni;

use crate::parallel::{SharedRows, for_each};
use crate::simd::{Kernel, Simd, dispatch};
use crate::{Buffer, Isa, View};
use rayon::prelude::*;
use std::cmp::Ordering;
use std::ops::Range;

/// How two embeddings are compared; higher is nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Similarity {
    /// Dot product over both lengths.
    Cosine,
    /// Dot product.
    Dot,
    /// Negative Euclidean distance.
    Euclidean,
    /// Negative Manhattan distance.
    Manhattan,
}

/// A row of the corpus and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// Row number in the corpus.
    pub index: u32,
    /// Similarity to the query.
    pub score: f32,
}

/// The rows that are searched: borrowed, or the corpus's own.
///
/// A memory map of a file will be a third kind; nothing else has to know which of them it is.
pub enum CorpusRows<'a> {
    /// Borrowed.
    View(View<'a>),
    /// Owned.
    Buffer(Buffer),
}

impl<'a> From<View<'a>> for CorpusRows<'a> {
    fn from(view: View<'a>) -> CorpusRows<'a> {
        CorpusRows::View(view)
    }
}

impl From<Buffer> for CorpusRows<'_> {
    fn from(buffer: Buffer) -> Self {
        CorpusRows::Buffer(buffer)
    }
}

/// Rows prepared for searches: what depends on them alone is computed once, however many searches
/// follow.
///
/// For cosines and dot products on `Isa::Avx512Bf16` that is each row rounded to bytes and 48
/// bytes more per row; elsewhere at most the length of each row.
pub struct Corpus<'a> {
    similarity: Similarity,
    rows: CorpusRows<'a>,
    prepared: Prepared,
}

/// What a search needs of the rows beside themselves.
enum Prepared {
    Scan(scan::Prepared),
    #[cfg(target_arch = "x86_64")]
    Propose(propose::Prepared),
}

impl<'a> Corpus<'a> {
    /// Prepares `rows`, `N x E`, for searches by `similarity`.
    ///
    /// # Examples
    /// ```
    /// use rankforge_kernels::ops::{Corpus, Similarity};
    /// use rankforge_kernels::{Buffer, Device};
    ///
    /// let device = Device::cpu(Some(1))?;
    /// let rows = Buffer::upload(&device, 3, 2, &[1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
    /// let corpus = Corpus::prepare(Similarity::Cosine, rows);
    /// let query = Buffer::upload(&device, 1, 2, &[0.0, 2.0]);
    /// let found = corpus.top_k(query.view(), 2, &|_| ());
    /// assert_eq!(found[0].iter().map(|row| row.index).collect::<Vec<_>>(), [1, 2]);
    /// # Ok::<(), rankforge_kernels::DeviceError>(())
    /// ```
    pub fn prepare(similarity: Similarity, rows: impl Into<CorpusRows<'a>>) -> Corpus<'a> {
        let rows = rows.into();
        let view = rows.view();
        #[cfg(target_arch = "x86_64")]
        if propose::applies(similarity, view) {
            let prepared = Prepared::Propose(propose::Prepared::new(similarity, view));
            return Corpus { similarity, rows, prepared };
        }
        let prepared = Prepared::Scan(scan::Prepared::new(similarity, view));
        Corpus { similarity, rows, prepared }
    }

    /// The rows, `N x E`.
    pub fn view(&self) -> View<'_> {
        self.rows.view()
    }

    /// How the rows are compared with queries.
    pub fn similarity(&self) -> Similarity {
        self.similarity
    }

    /// The `k` best rows for each query, best first, ties by lower index; all rows when there are
    /// fewer. Works in blocks: the score matrix never exists.
    ///
    /// Cosines and dot products on `Isa::Avx512Bf16` are the ones of [`pairwise_similarity`], and so
    /// are the neighbours; elsewhere scores are computed in `f32`.
    ///
    /// A score that is not a number counts as minus infinity. `done` is called with the number of
    /// queries finished since the last call, from any thread.
    ///
    /// Waits for the device.
    ///
    /// # Shapes
    /// `queries`: `Q x E`; the result has `Q` lists.
    ///
    /// # Panics
    /// When the queries have another number of columns.
    pub fn top_k(
        &self,
        queries: View<'_>,
        k: usize,
        done: &(dyn Fn(usize) + Sync),
    ) -> Vec<Vec<Neighbour>> {
        let (similarity, rows) = (self.similarity, self.view());
        assert_eq!(queries.columns, rows.columns, "{queries:?} against {rows:?}");
        let k = k.min(rows.rows);
        if k == 0 {
            done(queries.rows);
            return vec![Vec::new(); queries.rows];
        }
        match &self.prepared {
            Prepared::Scan(prepared) => scan::search(prepared, similarity, queries, rows, k, done),
            #[cfg(target_arch = "x86_64")]
            Prepared::Propose(prepared) => {
                propose::search(prepared, similarity, queries, rows, k, done)
            }
        }
    }
}

impl CorpusRows<'_> {
    fn view(&self) -> View<'_> {
        match self {
            CorpusRows::View(view) => *view,
            CorpusRows::Buffer(buffer) => buffer.view(),
        }
    }
}

/// The similarity of row `i` of `a` and row `i` of `b`, for all `i`.
///
/// # Shapes
/// `a`, `b`: `B x E`; the result has `B` numbers.
pub fn pairwise_similarity(similarity: Similarity, a: View<'_>, b: View<'_>) -> Vec<f32> {
    assert_eq!((a.rows, a.columns), (b.rows, b.columns), "pairs of rows");
    let columns = a.columns;
    let isa = a.device.cpu_isa();
    by_rows(a, |row| {
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

/// Lengths below count as this one, as in `normalize`.
const LEAST_NORM: f64 = 1e-12;

/// Calls `search` for each block of at most `block` queries with the parts of the corpus that threads may take in
/// parallel: one where there are blocks enough, and otherwise several, of a multiple of `multiple` rows.
fn by_blocks(
    queries: View<'_>,
    corpus: View<'_>,
    (block, multiple): (usize, usize),
    done: &(dyn Fn(usize) + Sync),
    search: impl Fn(Range<usize>, Vec<Range<usize>>) -> Vec<Vec<Neighbour>> + Sync,
) -> Vec<Vec<Neighbour>> {
    /// Fewer rows of the corpus than these are not worth a part of their own.
    const LEAST_PART: usize = 2048;
    let blocks = queries.rows.div_ceil(block);
    // The order of neighbours is total, so the parts can be merged in any way with the same result.
    let parts = (4 * corpus.device.threads()).div_ceil(blocks.max(1));
    let part = corpus.rows.div_ceil(parts).max(LEAST_PART).next_multiple_of(multiple);
    let search_block = |number: usize| {
        let queries = number * block..((number + 1) * block).min(queries.rows);
        let parts = (0..corpus.rows).step_by(part);
        let parts = parts.map(|start| start..(start + part).min(corpus.rows)).collect();
        let lists = search(queries.clone(), parts);
        done(queries.len());
        lists
    };
    let found: Vec<Vec<Vec<Neighbour>>> = corpus
        .device
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

fn nearer_first(a: &Neighbour, b: &Neighbour) -> Ordering {
    // Scores are never not-a-number here.
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal).then(a.index.cmp(&b.index))
}

/// `f` of each row number of `x`, on all threads.
fn by_rows(x: View<'_>, f: impl Fn(usize) -> f32 + Sync + Send) -> Vec<f32> {
    const BLOCK: usize = 256;
    let mut values = vec![0.0; x.rows];
    let shared = SharedRows::of_slice(&mut values, 1, x.rows);
    for_each(x.device, x.data.len() >= 1 << 15, x.rows.div_ceil(BLOCK), |block| {
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
fn norm(isa: Isa, x: &[f32]) -> f64 {
    let length = dot(isa, x, x).sqrt();
    // `max` would hide not-a-number.
    if length < LEAST_NORM { LEAST_NORM } else { length }
}

/// Sum of products in `f64`; the same bits on every instruction set, as the products are exact.
fn dot(isa: Isa, a: &[f32], b: &[f32]) -> f64 {
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
