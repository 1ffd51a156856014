//! The search for few queries: each row is read once and multiplied with all of them, at the speed
//! of memory.

use crate::cpu::machine::Cpu;
use crate::cpu::parallel::{INLINE_ELEMENTS, SharedRows, for_each};
use crate::cpu::top_k::candidates::{Candidates, Reached};
use crate::cpu::top_k::products::{RowHit, RowQuery, Rows};
use crate::cpu::top_k::propose::ByteSearch;
use crate::cpu::top_k::queries::{QueryScale, RoundedQuery};
use crate::settings::similarity::Neighbour;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Most queries for which this is faster than panels of queries.
pub(super) const MOST: usize = 8;

/// Rows that are multiplied with all queries in turn, and after which thresholds rise: they stay in
/// L2, or in L1 where there are several queries.
const CHUNK: usize = 64;

/// Chunks that a thread takes at a time, as memory is read faster in its order.
const RUN: usize = 32;

/// [`super::by_bytes::search`] for at most [`MOST`] queries.
pub(super) fn search(
    cpu: &Cpu,
    search: &ByteSearch<'_>,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    let rows = search.prepared.rows;
    let few = FewQueries::new(search);
    let runs = rows.div_ceil(CHUNK * RUN);
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Vec<Candidates>>> = Mutex::new(Vec::new());
    let job = || {
        let mut state = ThreadState { lists: few.lists(), hits: Vec::with_capacity(CHUNK) };
        let mut run = next.fetch_add(1, Ordering::Relaxed);
        while run < runs {
            let first = run * CHUNK * RUN;
            few.scan(first..(first + CHUNK * RUN).min(rows), &mut state);
            run = next.fetch_add(1, Ordering::Relaxed);
        }
        found.lock().unwrap_or_else(PoisonError::into_inner).push(state.lists);
    };
    if rows * search.prepared.width < INLINE_ELEMENTS || cpu.threads() < 2 {
        job();
    } else {
        cpu.workers().team().run(&job);
    }
    let mut lists = few.lists();
    for part in found.into_inner().unwrap_or_else(PoisonError::into_inner) {
        lists.iter_mut().zip(&part).for_each(|(list, part)| list.extend(part));
    }
    few.decide(cpu, &mut lists);
    done(lists.len());
    lists.iter().map(Candidates::finish).collect()
}

/// A query in bytes.
struct FewQuery {
    row_query: RowQuery,
    scale: QueryScale,
}

/// What a thread of a search has of its own.
struct ThreadState {
    /// The candidates of each query.
    lists: Vec<Candidates>,
    hits: Vec<RowHit>,
}

/// The queries of a search, and what all threads know of their best rows.
struct FewQueries<'a> {
    search: &'a ByteSearch<'a>,
    /// None for a query that bytes do not bound.
    queries: Vec<Option<FewQuery>>,
    reached: Vec<Reached>,
}

impl<'a> FewQueries<'a> {
    fn new(search: &'a ByteSearch<'a>) -> FewQueries<'a> {
        let rounded = |query| {
            let query = search.queries.row(query);
            let RoundedQuery { bytes, scale } =
                RoundedQuery::new(search.isa, search.prepared, query)?;
            Some(FewQuery { row_query: RowQuery::new(&bytes, scale.errors()), scale })
        };
        let queries: Vec<_> = (0..search.queries.rows).map(rounded).collect();
        let reached = queries.iter().map(|_| Reached::new()).collect();
        FewQueries { search, queries, reached }
    }

    /// An empty list for each query.
    fn lists(&self) -> Vec<Candidates> {
        let list = |_: &_| Candidates::new(self.search.prepared.products, self.search.k);
        self.queries.iter().map(list).collect()
    }

    /// Adds the candidates among the rows `part`.
    fn scan(&self, part: Range<usize>, state: &mut ThreadState) {
        let ByteSearch { prepared, .. } = *self.search;
        for first in part.clone().step_by(CHUNK) {
            let rows = first..(first + CHUNK).min(part.end);
            let bytes = &prepared.bytes[rows.start * prepared.width..rows.end * prepared.width];
            let terms = &prepared.terms[rows.clone()];
            for (number, query) in self.queries.iter().enumerate() {
                let Some(query) = query else {
                    self.search.take_all(number, rows.clone(), &mut state.lists[number]);
                    continue;
                };
                let reached = self.reached[number].score();
                state.hits.clear();
                let rows = Rows { bytes, terms, score: query.scale.threshold(reached) };
                prepared.products.compare_rows(&query.row_query, rows, &mut state.hits);
                if !state.hits.is_empty() {
                    self.take(number, query, first, state);
                }
            }
        }
    }

    /// Adds the hits among the rows from `first` on to the candidates of a query.
    fn take(&self, number: usize, query: &FewQuery, first: usize, state: &mut ThreadState) {
        let ByteSearch { prepared, scores, queries, skipped, .. } = self.search;
        let exact = scores.of(queries.row(number));
        let list = &mut state.lists[number];
        for hit in &state.hits {
            let index = first + hit.row;
            if skipped.contains(index) {
                continue;
            }
            let row = &prepared.terms[index];
            let (least, most) = if row.is_bounded() {
                query.scale.bounds(hit.sum, row)
            } else {
                let known = exact(index as u32);
                (known, known)
            };
            if list.push(index as u32, least, most) {
                self.reached[number].raise(list.cut(&exact));
            }
        }
    }

    /// Computes the scores of all candidates.
    fn decide(&self, cpu: &Cpu, lists: &mut [Candidates]) {
        /// Candidates that a thread takes at a time.
        const BLOCK: usize = 16;
        for (number, list) in lists.iter_mut().enumerate() {
            let query = self.search.queries.row(number);
            self.search.narrow(query, list);
            let exact = self.search.scores.of(query);
            let indices = list.indices();
            let mut scores = vec![0.0; indices.len()];
            let shared = SharedRows::of_slice(&mut scores, 1, indices.len());
            for_each(cpu, true, indices.len().div_ceil(BLOCK), |block| {
                let places = block * BLOCK..((block + 1) * BLOCK).min(indices.len());
                let indices = &indices[places.clone()];
                indices.iter().for_each(|&index| self.search.scores.prefetch(index));
                // SAFETY: blocks are disjoint, and each is one task.
                let scores = unsafe { shared.part(0, places) };
                for (score, &index) in scores.iter_mut().zip(indices) {
                    *score = exact(index);
                }
            });
            for (place, score) in scores.into_iter().enumerate() {
                list.decide(place, score);
            }
        }
    }
}
