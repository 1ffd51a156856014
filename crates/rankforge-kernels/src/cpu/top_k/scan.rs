//! Computes every score in `f32`, in tiles that stay in cache.

use crate::cpu::machine::Cpu;
use crate::cpu::matmul::block::{AbsoluteDifference, Multiply, SquaredDifference};
use crate::cpu::matmul::small::{
    Left, Out, PANEL, Right, Shape, padded, small_product, transpose_to_panels,
};
use crate::cpu::matrix::Matrix;
use crate::cpu::memory::Aligned;
use crate::cpu::simd::{Kernel, Simd, dispatch};
use crate::cpu::top_k::blocks::{by_blocks, prune};
use crate::cpu::top_k::exact::{by_rows, norm};
use crate::isa::Supported;
use crate::settings::similarity::{Neighbour, SearchOf, Similarity, nearer_first};
use rayon::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

/// What a search by cosines computes from the corpus beforehand.
pub(crate) struct ReciprocalNorms {
    /// Reciprocal norm of each row, for cosines; empty for other similarities.
    factors: Vec<f32>,
}

impl ReciprocalNorms {
    pub(super) fn new(cpu: &Cpu, similarity: Similarity, corpus: Matrix<'_>) -> ReciprocalNorms {
        let factors = match similarity {
            Similarity::Cosine => reciprocal_norms(cpu, corpus),
            _ => Vec::new(),
        };
        ReciprocalNorms { factors }
    }
}

/// [`super::search`] by products in `f32`.
pub(super) fn search(
    cpu: &Cpu,
    prepared: &ReciprocalNorms,
    search: SearchOf<Matrix<'_>>,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    let SearchOf { similarity, queries, corpus, k } = search;
    let search = FloatSearch {
        isa: cpu.isa(),
        similarity,
        queries,
        corpus,
        corpus_factors: &prepared.factors,
        k,
    };
    by_blocks(cpu, (queries.rows, corpus.rows), (QUERIES, 1), done, |queries, parts| {
        let scan = |part| search.scan(queries.clone(), part);
        search.merge(parts.into_par_iter().map(scan).collect())
    })
}

/// Queries of a block: their scores of a tile stay in L1 beside a panel of queries.
const QUERIES: usize = 128;

/// Rows of the corpus in a tile.
const ROWS: usize = 64;

/// One search by scores in `f32`.
struct FloatSearch<'a> {
    isa: Supported,
    similarity: Similarity,
    queries: Matrix<'a>,
    corpus: Matrix<'a>,
    /// Reciprocal norm of each row, for cosines.
    corpus_factors: &'a [f32],
    k: usize,
}

impl FloatSearch<'_> {
    /// The best `k` of the rows `part` for each of `queries`, unordered.
    ///
    /// The queries are the columns of the products. So the corpus is read in place, once for each
    /// block of queries, and a vector of scores is compared with a vector of thresholds.
    fn scan(&self, queries: Range<usize>, part: Range<usize>) -> Vec<Vec<Neighbour>> {
        thread_local! {
            static MEMORY: RefCell<Aligned> = const { RefCell::new(Aligned::new()) };
        }
        let (isa, inner) = (self.isa, self.corpus.columns);
        let columns = padded(queries.len());
        MEMORY.with_borrow_mut(|memory| {
            let [scaled, panels, scores, thresholds] = memory.split([
                queries.len() * inner,
                columns.next_multiple_of(PANEL) * inner,
                ROWS * columns,
                columns,
            ]);
            self.scale_queries(queries.clone(), scaled);
            transpose_to_panels(isa, scaled, queries.len(), inner, inner, panels);
            thresholds.fill(f32::NEG_INFINITY);
            let mut best = Best { k: self.k.min(part.len()), lists: Vec::new(), thresholds };
            best.lists.resize_with(queries.len(), || Vec::with_capacity(capacity(best.k)));
            for first in part.clone().step_by(ROWS) {
                let rows = (part.end - first).min(ROWS);
                let shape = Shape { rows, columns, inner };
                let left = Left::rows(&self.corpus.data[first * inner..], inner);
                let right = Right::panels(panels, inner);
                let scores = &mut scores[..rows * columns];
                let out = Out::write(scores, columns);
                match self.similarity {
                    Similarity::Cosine | Similarity::Dot => {
                        small_product::<Multiply>(isa, shape, left, right, out);
                    }
                    Similarity::Euclidean => {
                        small_product::<SquaredDifference>(isa, shape, left, right, out);
                    }
                    Similarity::Manhattan => {
                        small_product::<AbsoluteDifference>(isa, shape, left, right, out);
                    }
                }
                let similarity = self.similarity;
                let factors = self.corpus_factors.get(first..first + rows).unwrap_or(&[]);
                dispatch(isa, SumsToScores { similarity, factors, scores, columns });
                // Until the list of each query is full, every row is taken.
                let taken = best.k.saturating_sub(first - part.start).min(rows);
                best.take_all(first as u32, &scores[..taken * columns]);
                let (first, scores) = ((first + taken) as u32, &scores[taken * columns..]);
                dispatch(isa, Select { best: &mut best, first, scores });
            }
            best.lists.iter_mut().for_each(|list| prune(list, best.k));
            best.lists
        })
    }

    /// Copies a block of queries; for cosines, normalised.
    fn scale_queries(&self, queries: Range<usize>, target: &mut [f32]) {
        let columns = self.queries.columns;
        for (target, row) in target.chunks_exact_mut(columns.max(1)).zip(queries) {
            let query = &self.queries.data[row * columns..][..columns];
            let factor = match self.similarity {
                Similarity::Cosine => (1.0 / norm(self.isa, query)) as f32,
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
    /// At least the `k` best; truncated to them when full.
    lists: Vec<Vec<Neighbour>>,
    /// A score that is not above its threshold is not among the best: at a tie the earlier row
    /// wins.
    thresholds: &'a mut [f32],
}

/// Length at which a list is truncated to `k`: with more, truncation is rarer and the threshold
/// older.
fn capacity(k: usize) -> usize {
    2 * k + 32
}

impl Best<'_> {
    /// Adds the scores of all rows from `first` on.
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

/// Turns sums into scores.
struct SumsToScores<'a> {
    similarity: Similarity,
    factors: &'a [f32],
    scores: &'a mut [f32],
    columns: usize,
}

impl Kernel for SumsToScores<'_> {
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

/// Adds the scores that are above their query's threshold.
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
                // `max` returns its second operand when the first is NaN.
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

/// The reciprocal norm of each row.
fn reciprocal_norms(cpu: &Cpu, x: Matrix<'_>) -> Vec<f32> {
    let isa = cpu.isa();
    by_rows(cpu, x, |row| (1.0 / norm(isa, &x.data[row * x.columns..][..x.columns])) as f32)
}
