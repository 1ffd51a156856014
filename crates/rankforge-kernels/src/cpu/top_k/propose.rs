//! Bounds every score by a product of bytes, and computes in `f64` those that can be among the
//! best.

use crate::cpu::matrix::Matrix;
use crate::cpu::top_k::candidates::{Candidates, Reached};
use crate::cpu::top_k::products::{Hits, QUERIES, ROWS, Tile};
use crate::cpu::top_k::queries::{Panel, RoundedQuery};
use crate::cpu::top_k::rounded::RoundedCorpus;
use crate::cpu::top_k::scores::Scores;
use crate::isa::Supported;
use crate::settings::rows::Skipped;
use std::ops::Range;

/// Queries of a block: as many as stay in L2 while candidate rows are read.
pub(super) const BLOCK: usize = 8 * QUERIES;

/// Rows of the corpus that are multiplied with all panels of a block in turn.
pub(super) const TILE: usize = 16 * ROWS;

/// Tiles after which a part takes over what other parts know of the best scores.
const TILES_BETWEEN_RAISES: usize = 16;

/// One search by bytes.
pub(super) struct ByteSearch<'a> {
    pub(super) isa: Supported,
    pub(super) queries: Matrix<'a>,
    pub(super) prepared: &'a RoundedCorpus<'a>,
    pub(super) scores: Scores<'a>,
    pub(super) skipped: Skipped<'a>,
    pub(super) k: usize,
}

impl ByteSearch<'_> {
    /// The candidates among the rows `part` for each of `queries`.
    pub(super) fn scan(
        &self,
        queries: Range<usize>,
        part: Range<usize>,
        reached: &[Reached],
    ) -> Vec<Candidates> {
        let mut block = self.block(queries.clone());
        let mut hits = Hits { masks: [0; ROWS], sums: [[0; QUERIES]; ROWS] };
        for (number, tile_start) in part.clone().step_by(TILE).enumerate() {
            let tile_end = part.end.min(tile_start + TILE);
            for panel in 0..block.panels.len() {
                let reached = &reached[panel * QUERIES..];
                if number.is_multiple_of(TILES_BETWEEN_RAISES) {
                    block.panels[panel].raise(reached);
                }
                for first in (tile_start..tile_end).step_by(ROWS) {
                    let (bytes, rows) = self.prepared.tile(first);
                    let Panel { lines, thresholds, .. } = &block.panels[panel];
                    let count = (block.lists.len() - panel * QUERIES).min(QUERIES);
                    let tile = Tile { panel: lines, queries: count, thresholds, bytes, rows };
                    if self.prepared.products.compare(tile, &mut hits) {
                        self.take(&mut block, queries.start, panel, (first, &hits), reached);
                    }
                }
            }
        }
        for (place, query) in queries.enumerate() {
            if !block.bounded[place] {
                self.take_all(query, part.clone(), &mut block.lists[place]);
            }
        }
        block.lists
    }

    /// Adds the hits of the tile that begins with the row `first` to the candidates.
    fn take(
        &self,
        block: &mut QueryBlock,
        query: usize,
        panel: usize,
        (first, hits): (usize, &Hits),
        reached: &[Reached],
    ) {
        let Panel { thresholds, scales, .. } = &mut block.panels[panel];
        for (number, mut mask) in hits.masks.into_iter().enumerate() {
            if mask == 0 || self.skipped.contains(first + number) {
                continue;
            }
            let (index, row) = ((first + number) as u32, &self.prepared.terms[first + number]);
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let place = panel * QUERIES + lane;
                let source = self.queries.row(query + place);
                let (least, most) = if row.is_bounded() {
                    scales[lane].bounds(hits.sums[number][lane], row)
                } else {
                    let known = self.scores.of(source)(index);
                    (known, known)
                };
                let candidates = &mut block.lists[place];
                if candidates.push(index, least, most) {
                    reached[lane].raise(candidates.cut(self.scores.of(source)));
                    let score = reached[lane].score();
                    thresholds.score[lane] = scales[lane].threshold(score);
                }
            }
        }
    }

    /// Adds all rows of `part`, for a query that bytes do not bound.
    pub(super) fn take_all(&self, query: usize, part: Range<usize>, candidates: &mut Candidates) {
        let score = self.scores.of(self.queries.row(query));
        for row in part.filter(|&row| !self.skipped.contains(row)) {
            let known = score(row as u32);
            if candidates.push(row as u32, known, known) {
                candidates.cut(&score);
            }
        }
    }

    /// Computes the scores of all candidates of the queries from `query` on, in the order of the
    /// corpus, so that rows that several queries need are read once.
    pub(super) fn decide(&self, query: usize, lists: &mut [Candidates]) {
        /// Rows that stay in cache meanwhile.
        const STRETCH: usize = 1024;
        /// Candidates that a row is fetched ahead of its use.
        const AHEAD: usize = 4;
        let queries = (query..).take(lists.len()).map(|query| self.queries.row(query));
        let scores: Vec<_> = queries.map(|query| self.scores.of(query)).collect();
        let mut places = vec![0; lists.len()];
        for (list, query) in lists.iter_mut().zip(query..) {
            self.narrow(self.queries.row(query), list);
        }
        // List, place in it, and row.
        let mut due: Vec<(usize, usize, u32)> = Vec::new();
        for end in (STRETCH..self.prepared.rows + STRETCH).step_by(STRETCH) {
            due.clear();
            for (number, (list, place)) in lists.iter().zip(&mut places).enumerate() {
                let rest = list.indices()[*place..].iter();
                for &index in rest.take_while(|&&index| (index as usize) < end) {
                    due.push((number, *place, index));
                    *place += 1;
                }
            }
            for (number, &(list, place, index)) in due.iter().enumerate() {
                if let Some(&(_, _, later)) = due.get(number + AHEAD) {
                    self.scores.prefetch(later);
                }
                lists[list].decide(place, scores[list](index));
            }
        }
    }

    /// Drops the candidates of a query that are surely not among the best; where reading a row
    /// costs more than its bytes, by the products of the bytes with the query itself.
    pub(super) fn narrow(&self, query: &[f32], list: &mut Candidates) {
        list.cut_by_bounds();
        if let Some(bounds) = self.scores.narrow_bounds(query, self.prepared) {
            list.narrow(bounds, |index| self.prepared.prefetch(index));
            list.cut_by_bounds();
        }
    }

    /// Rounds and packs a block of queries.
    fn block(&self, queries: Range<usize>) -> QueryBlock {
        let RoundedCorpus { products, width, .. } = *self.prepared;
        let mut panels = vec![Panel::empty(products, width); queries.len().div_ceil(QUERIES)];
        let mut bounded = Vec::with_capacity(queries.len());
        for (place, query) in queries.clone().enumerate() {
            let rounded = RoundedQuery::new(self.isa, self.prepared, self.queries.row(query));
            bounded.push(rounded.is_some());
            if let Some(rounded) = rounded {
                panels[place / QUERIES].put(products, place % QUERIES, &rounded);
            }
        }
        let lists = queries.map(|_| Candidates::new(products, self.k)).collect();
        QueryBlock { panels, bounded, lists }
    }
}

/// A block of queries and their candidates.
struct QueryBlock {
    panels: Vec<Panel>,
    /// Whether a query goes through the products of bytes.
    bounded: Vec<bool>,
    lists: Vec<Candidates>,
}
