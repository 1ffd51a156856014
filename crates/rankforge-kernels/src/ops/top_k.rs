use crate::View;
use crate::micro::{AbsoluteDifference, Multiply, SquaredDifference};
use crate::parallel::{SharedRows, for_each};
use crate::simd::{Kernel, Simd, dispatch};
use crate::tile::{Left, PANEL, Right, Scratch, Shape, pack_panels, padded, product};
use rayon::prelude::*;
use std::cell::RefCell;
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

/// The `k` best rows of `corpus` for each query, best first, ties by lower index; fewer when the
/// corpus is smaller. Works in blocks: the score matrix never exists.
///
/// A score that is not a number counts as minus infinity. `done` is called with the number of
/// queries finished since the last call, from any thread.
///
/// # Shapes
/// `queries`: `Q x E`; `corpus`: `N x E`; the result has `Q` lists.
pub fn top_k(
    similarity: Similarity,
    queries: View<'_>,
    corpus: View<'_>,
    k: usize,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    assert_eq!(queries.columns, corpus.columns, "{queries:?} against {corpus:?}");
    let k = k.min(corpus.rows);
    if k == 0 {
        done(queries.rows);
        return vec![Vec::new(); queries.rows];
    }
    let corpus_factors = match similarity {
        Similarity::Cosine => reciprocal_norms(corpus),
        _ => Vec::new(),
    };
    let search = Search { similarity, queries, corpus, corpus_factors: &corpus_factors, k };
    let blocks = queries.rows.div_ceil(QUERIES);
    // With few queries, threads share the corpus; the order of neighbours is total, so the parts
    // can be merged in any way with the same result.
    let parts = (4 * corpus.device.threads()).div_ceil(blocks.max(1));
    let part = corpus.rows.div_ceil(parts).max(LEAST_PART);
    let found: Vec<Vec<Vec<Neighbour>>> = corpus.device.run(|| {
        let search_block = |block: usize| {
            let queries = block * QUERIES..((block + 1) * QUERIES).min(queries.rows);
            let parts = (0..corpus.rows).step_by(part).collect::<Vec<_>>();
            let parts = parts
                .into_par_iter()
                .map(|start| search.scan(queries.clone(), start..(start + part).min(corpus.rows)))
                .collect::<Vec<_>>();
            let lists = search.merge(parts);
            done(queries.len());
            lists
        };
        (0..blocks).into_par_iter().with_max_len(1).map(search_block).collect()
    });
    found.into_iter().flatten().collect()
}

/// The similarity of row `i` of `a` and row `i` of `b`, for all `i`.
///
/// # Shapes
/// `a`, `b`: `B x E`; the result has `B` numbers.
pub fn pairwise_similarity(similarity: Similarity, a: View<'_>, b: View<'_>) -> Vec<f32> {
    assert_eq!((a.rows, a.columns), (b.rows, b.columns), "pairs of rows");
    let columns = a.columns;
    by_rows(a, |row| {
        let (a, b) = (&a.data[row * columns..][..columns], &b.data[row * columns..][..columns]);
        let score = match similarity {
            Similarity::Dot => sum(a, b, |a, b| a * b),
            Similarity::Cosine => sum(a, b, |a, b| a * b) / (norm(a) * norm(b)),
            Similarity::Euclidean => -sum(a, b, |a, b| (a - b) * (a - b)).sqrt(),
            Similarity::Manhattan => -sum(a, b, |a, b| (a - b).abs()),
        };
        score as f32
    })
}

/// Queries of a block; their columns of scores stay in L1 beside a panel of the queries.
const QUERIES: usize = 128;

/// Rows of the corpus in a tile.
const ROWS: usize = 64;

/// Fewer rows of the corpus than these are not worth a part of their own.
const LEAST_PART: usize = 2048;

/// Lengths below count as this one, as in `normalize`.
const LEAST_NORM: f64 = 1e-12;

struct Search<'a> {
    similarity: Similarity,
    queries: View<'a>,
    corpus: View<'a>,
    /// One over the length of each row, for cosines.
    corpus_factors: &'a [f32],
    k: usize,
}

impl Search<'_> {
    /// The best `k` of the rows `part` for each of `queries`, unordered.
    ///
    /// The queries are the columns of the products: so the corpus is read where it lies, once for
    /// each block of queries, and a vector of scores meets a vector of thresholds.
    fn scan(&self, queries: Range<usize>, part: Range<usize>) -> Vec<Vec<Neighbour>> {
        thread_local! {
            static SCRATCH: RefCell<Scratch> = const { RefCell::new(Scratch::new()) };
        }
        let (isa, inner) = (self.corpus.device.isa(), self.corpus.columns);
        let columns = padded(queries.len());
        SCRATCH.with_borrow_mut(|scratch| {
            let [scaled, panels, scores, thresholds] = scratch.split([
                queries.len() * inner,
                columns.next_multiple_of(PANEL) * inner,
                ROWS * columns,
                columns,
            ]);
            self.scale_queries(queries.clone(), scaled);
            pack_panels(isa, scaled, queries.len(), inner, inner, panels);
            thresholds.fill(f32::NEG_INFINITY);
            let mut best = Best { k: self.k.min(part.len()), lists: Vec::new(), thresholds };
            best.lists.resize_with(queries.len(), || Vec::with_capacity(capacity(best.k)));
            for first in part.clone().step_by(ROWS) {
                let rows = (part.end - first).min(ROWS);
                let shape = Shape { rows, columns, inner };
                let left = Left::rows(&self.corpus.data[first * inner..], inner);
                let right = Right::panels(panels, inner);
                let scores = &mut scores[..rows * columns];
                match self.similarity {
                    Similarity::Cosine | Similarity::Dot => {
                        product::<Multiply>(isa, shape, left, right, false, scores, columns);
                    }
                    Similarity::Euclidean => {
                        product::<SquaredDifference>(
                            isa, shape, left, right, false, scores, columns,
                        );
                    }
                    Similarity::Manhattan => {
                        product::<AbsoluteDifference>(
                            isa, shape, left, right, false, scores, columns,
                        );
                    }
                }
                let similarity = self.similarity;
                let factors = self.corpus_factors.get(first..first + rows).unwrap_or(&[]);
                dispatch(isa, Finish { similarity, factors, scores, columns });
                // Without a full list for each query, every row is taken.
                let taken = best.k.saturating_sub(first - part.start).min(rows);
                best.take_all(first as u32, &scores[..taken * columns]);
                let (first, scores) = ((first + taken) as u32, &scores[taken * columns..]);
                dispatch(isa, Select { best: &mut best, first, scores });
            }
            best.lists.iter_mut().for_each(|list| prune(list, best.k));
            best.lists
        })
    }

    /// Copies a block of queries; those for cosines get unit length.
    fn scale_queries(&self, queries: Range<usize>, target: &mut [f32]) {
        let columns = self.queries.columns;
        for (target, row) in target.chunks_exact_mut(columns.max(1)).zip(queries) {
            let query = &self.queries.data[row * columns..][..columns];
            let factor = match self.similarity {
                Similarity::Cosine => (1.0 / norm(query)) as f32,
                _ => 1.0,
            };
            for (target, query) in target.iter_mut().zip(query) {
                *target = query * factor;
            }
        }
    }

    /// One sorted list for each query of a block from those of the parts of the corpus.
    fn merge(&self, parts: Vec<Vec<Vec<Neighbour>>>) -> Vec<Vec<Neighbour>> {
        let mut parts = parts.into_iter();
        let mut merged = parts.next().unwrap_or_default();
        for part in parts {
            merged.iter_mut().zip(part).for_each(|(list, part)| list.extend(part));
        }
        for list in &mut merged {
            prune(list, self.k);
            list.sort_unstable_by(nearer_first);
            list.shrink_to_fit();
        }
        merged
    }
}

/// The best rows so far for each query of a block.
struct Best<'a> {
    k: usize,
    /// At least the `k` best; cut back to them when full.
    lists: Vec<Vec<Neighbour>>,
    /// Scores that are not above them cannot be among the best: the row comes later.
    thresholds: &'a mut [f32],
}

/// Length at which a list is cut back to `k`: the longer, the rarer the cut and the staler the threshold.
fn capacity(k: usize) -> usize {
    2 * k + 32
}

impl Best<'_> {
    /// Takes the scores of all rows from `first` on.
    fn take_all(&mut self, first: u32, scores: &[f32]) {
        let columns = self.thresholds.len();
        for (index, row) in (first..).zip(scores.chunks_exact(columns)) {
            for ((list, threshold), &score) in
                self.lists.iter_mut().zip(self.thresholds.iter_mut()).zip(row)
            {
                let score = if score.is_nan() { f32::NEG_INFINITY } else { score };
                list.push(Neighbour { index, score });
                if list.len() == self.k {
                    *threshold = list.iter().map(|found| found.score).fold(f32::INFINITY, f32::min);
                }
            }
        }
    }

    #[inline(never)]
    fn offer(&mut self, query: usize, index: u32, score: f32) {
        let Some(list) = self.lists.get_mut(query) else { return };
        list.push(Neighbour { index, score });
        if list.len() == capacity(self.k) {
            prune(list, self.k);
            self.thresholds[query] = list[self.k - 1].score;
        }
    }
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

/// Turns sums into scores.
struct Finish<'a> {
    similarity: Similarity,
    factors: &'a [f32],
    scores: &'a mut [f32],
    columns: usize,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let zero = S::splat(0.0);
        match self.similarity {
            Similarity::Dot => {}
            Similarity::Cosine => {
                for (row, &factor) in self.scores.chunks_exact_mut(self.columns).zip(self.factors) {
                    for chunk in row.chunks_exact_mut(S::LANES) {
                        S::store(S::mul(S::load(chunk), S::splat(factor)), chunk);
                    }
                }
            }
            Similarity::Euclidean => {
                for chunk in self.scores.chunks_exact_mut(S::LANES) {
                    S::store(S::sub(zero, S::sqrt(S::load(chunk))), chunk);
                }
            }
            Similarity::Manhattan => {
                for chunk in self.scores.chunks_exact_mut(S::LANES) {
                    S::store(S::sub(zero, S::load(chunk)), chunk);
                }
            }
        }
    }
}

/// Offers the scores above their query's threshold.
struct Select<'a, 'b> {
    best: &'a mut Best<'b>,
    /// Row number in the corpus of the first row of scores.
    first: u32,
    scores: &'a [f32],
}

/// Rows that one comparison with the thresholds covers.
const GROUP: usize = 8;

impl Kernel for Select<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self) {
        let columns = self.best.thresholds.len();
        let groups = self.scores.chunks(GROUP * columns);
        for (group, first) in groups.zip((self.first..).step_by(GROUP)) {
            for column in (0..columns).step_by(S::LANES) {
                // The second operand of `max` wins over not-a-number.
                let mut highest = S::splat(f32::NEG_INFINITY);
                for row in group.chunks_exact(columns) {
                    highest = S::max(S::load(&row[column..]), highest);
                }
                let thresholds = S::load(&self.best.thresholds[column..]);
                let above = S::select_less(thresholds, highest, S::splat(1.0), S::splat(0.0));
                if S::reduce_max(above) == 0.0 {
                    continue;
                }
                let mut lanes = [0.0; 16];
                S::store(above, &mut lanes);
                for (query, _) in (column..).zip(lanes).filter(|&(_, above)| above > 0.0) {
                    for (index, row) in (first..).zip(group.chunks_exact(columns)) {
                        if row[query] > self.best.thresholds[query] {
                            self.best.offer(query, index, row[query]);
                        }
                    }
                }
            }
        }
    }
}

/// One over the length of each row.
fn reciprocal_norms(x: View<'_>) -> Vec<f32> {
    by_rows(x, |row| (1.0 / norm(&x.data[row * x.columns..][..x.columns])) as f32)
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

fn norm(x: &[f32]) -> f64 {
    sum(x, x, |a, b| a * b).sqrt().max(LEAST_NORM)
}

/// Sum of `f` over pairs in `f64`, in eight interleaved sums that vectorise.
fn sum(a: &[f32], b: &[f32], f: impl Fn(f64, f64) -> f64) -> f64 {
    let mut sums = [0.0; 8];
    for (a, b) in a.chunks(8).zip(b.chunks(8)) {
        for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
            *sum += f(f64::from(a), f64::from(b));
        }
    }
    sums.iter().sum()
}
