//! Bounds every score by a product of bytes, and computes in `f64` those that can be among the
//! best.

use crate::cpu::machine::Cpu;
use crate::cpu::matrix::Matrix;
use crate::cpu::top_k::blocks::by_blocks;
use crate::cpu::top_k::bytes::{ROOM, RoundedRow, Rounding, round};
use crate::cpu::top_k::candidates::Candidates;
use crate::cpu::top_k::exact::norm;
use crate::cpu::top_k::products::{
    ByteProducts, GROUP, Hits, Line, OFFSET, QUERIES, ROWS, Row, Thresholds, Tile, prefetch,
};
use crate::isa::Supported;
use crate::settings::norm::LEAST_NORM;
use crate::settings::similarity::{Neighbour, SearchOf, Similarity};
use rayon::prelude::*;
use std::ops::Range;

/// [`super::search`] with the bytes of `prepared`.
pub(super) fn search(
    cpu: &Cpu,
    prepared: &RoundedCorpus,
    search: SearchOf<Matrix<'_>>,
    done: &(dyn Fn(usize) + Sync),
) -> Vec<Vec<Neighbour>> {
    let SearchOf { similarity, queries, corpus, k } = search;
    let search = ByteSearch { isa: cpu.isa(), similarity, queries, corpus, k, prepared };
    by_blocks(cpu, queries, corpus, (BLOCK, TILE), done, |queries, parts| {
        let scan = |part| search.scan(queries.clone(), part);
        let mut parts = parts.into_par_iter().map(scan).collect::<Vec<_>>().into_iter();
        let mut lists = parts.next().unwrap_or_default();
        for part in parts {
            lists.iter_mut().zip(&part).for_each(|(list, part)| list.extend(part));
        }
        search.decide(queries.start, &mut lists);
        lists.iter().map(Candidates::finish).collect()
    })
}

/// Queries of a block: as many as stay in L2 while candidate rows are read.
const BLOCK: usize = 8 * QUERIES;

/// Rows of the corpus that are multiplied with all panels of a block in turn.
const TILE: usize = 16 * ROWS;

/// Least rows that a thread rounds at a time.
const CHUNK: usize = 256;

/// Weights of queries that go through bytes: outside, scores or products of scales may leave the
/// range where `f32` has its full precision.
const BOUNDED: Range<f64> = 1e-20..1e37;

/// The corpus in bytes, and what bounds the rounding.
pub(crate) struct RoundedCorpus {
    products: ByteProducts,
    /// Norms of the rows of the corpus.
    norms: Vec<f64>,
    /// Norm of the longest row, by which rows are divided before rounding for dot products. For
    /// cosines 1, as each row is divided by its own norm.
    longest: f64,
    /// Bytes of a row, in whole groups.
    width: usize,
    /// The rounded rows of the corpus, each byte plus [`OFFSET`], padded to whole tiles.
    bytes: Vec<u8>,
    rounded: Vec<RoundedRow>,
    rows: Vec<Row>,
    /// Rows with infinities or NaN.
    unbounded: Vec<u32>,
}

impl RoundedCorpus {
    /// Rounds the rows to bytes; `None` where the machine cannot multiply bytes, or bytes do not
    /// bound the similarity.
    pub(super) fn new(
        cpu: &Cpu,
        similarity: Similarity,
        corpus: Matrix<'_>,
    ) -> Option<RoundedCorpus> {
        /// A sum of this number of products of bytes cannot overflow 32 bits.
        const WIDEST: usize = 1 << 14;
        let products = matches!(similarity, Similarity::Cosine | Similarity::Dot);
        if !products || !(1..=WIDEST).contains(&corpus.columns) {
            return None;
        }
        let (isa, products) = (cpu.isa(), ByteProducts::of(cpu.isa())?);
        let mut norms = vec![0.0; corpus.rows];
        cpu.workers().run(|| {
            norms.par_iter_mut().with_min_len(CHUNK).enumerate().for_each(|(row, length)| {
                *length = norm(isa, corpus.row(row));
            });
        });
        let longest = match similarity {
            Similarity::Cosine => 1.0,
            _ => norms.iter().filter(|norm| norm.is_finite()).fold(LEAST_NORM, |a, &b| a.max(b)),
        };
        let width = corpus.columns.next_multiple_of(GROUP);
        let padded = corpus.rows.next_multiple_of(ROWS);
        let mut bytes = vec![OFFSET; padded * width];
        let mut rounded = vec![RoundedRow { scale: 1.0, length: 0.0, lost: 0.0 }; padded];
        cpu.workers().run(|| {
            let rows = bytes.par_chunks_exact_mut(width).zip(&mut rounded).zip(&norms);
            rows.with_min_len(CHUNK).enumerate().for_each(|(row, ((bytes, rounded), &norm))| {
                if norm.is_finite() {
                    let divisor = if similarity == Similarity::Cosine { norm } else { longest };
                    let narrow_sums = products.has_narrow_sums();
                    let rounding = Rounding { factor: 1.0 / divisor, offset: OFFSET, narrow_sums };
                    *rounded = round(isa, corpus.row(row), rounding, bytes);
                }
            });
        });
        let taken = |row: usize| norms.get(row).is_some_and(|norm| norm.is_finite());
        let never = Row { base: f32::INFINITY, inverse_scale: 1.0, lost: 0.0, length: 0.0 };
        let rows = rounded.iter().enumerate();
        let rows = rows.map(|(row, it)| if taken(row) { comparison(it) } else { never }).collect();
        let unbounded = (0..corpus.rows).filter(|&row| !taken(row)).map(|row| row as u32).collect();
        Some(RoundedCorpus { products, norms, longest, width, bytes, rounded, rows, unbounded })
    }
}

/// One search by bytes.
struct ByteSearch<'a> {
    isa: Supported,
    similarity: Similarity,
    queries: Matrix<'a>,
    corpus: Matrix<'a>,
    k: usize,
    prepared: &'a RoundedCorpus,
}

impl ByteSearch<'_> {
    /// The candidates among the rows `part` for each of `queries`.
    fn scan(&self, queries: Range<usize>, part: Range<usize>) -> Vec<Candidates> {
        let mut block = self.block(queries.clone());
        let mut hits = Hits { masks: [0; ROWS], sums: [[0; QUERIES]; ROWS] };
        for tile_start in part.clone().step_by(TILE) {
            let tile_end = part.end.min(tile_start + TILE);
            for panel in 0..block.panels.len() {
                for first in (tile_start..tile_end).step_by(ROWS) {
                    let bytes = &self.prepared.bytes
                        [first * self.prepared.width..(first + ROWS) * self.prepared.width];
                    let rows = self.prepared.rows[first..].first_chunk().expect("whole tiles");
                    let Panel { lines, thresholds, .. } = &block.panels[panel];
                    let count = (block.lists.len() - panel * QUERIES).min(QUERIES);
                    let tile = Tile { panel: lines, queries: count, thresholds, bytes, rows };
                    if self.prepared.products.compare(tile, &mut hits) {
                        self.take(&mut block, queries.start, panel, first, &hits);
                    }
                }
            }
        }
        self.take_unbounded(&mut block, queries, part);
        block.lists
    }

    /// Adds the hits of a tile to the candidates.
    fn take(&self, block: &mut QueryBlock, query: usize, panel: usize, first: usize, hits: &Hits) {
        let Panel { thresholds, scales, .. } = &mut block.panels[panel];
        for (number, mut mask) in hits.masks.into_iter().enumerate() {
            let (index, row) = (first + number, &self.prepared.rounded[first + number]);
            while mask != 0 {
                let lane = mask.trailing_zeros() as usize;
                mask &= mask - 1;
                let scale = &scales[lane];
                let score = hits.sums[number][lane] as f32 * (row.scale * scale.unit);
                let bound = (row.lost as f32 + scale.lost * row.length as f32) * scale.weight;
                let place = panel * QUERIES + lane;
                let candidates = &mut block.lists[place];
                if candidates.push(index as u32, score - bound, score + bound) {
                    let score = candidates.cut(self.score(query + place));
                    thresholds.score[lane] = scale.threshold(score);
                }
            }
        }
    }

    /// Adds what bytes do not cover: rows that are not finite, and all rows for queries out of
    /// range.
    fn take_unbounded(&self, block: &mut QueryBlock, queries: Range<usize>, part: Range<usize>) {
        for (place, query) in queries.enumerate() {
            let score = self.score(query);
            let candidates = &mut block.lists[place];
            let mut add = |index: u32| {
                let known = score(index);
                if candidates.push(index, known, known) {
                    candidates.cut(&score);
                }
            };
            if block.bounded[place] {
                let inside = |index: &&u32| part.contains(&(**index as usize));
                self.prepared.unbounded.iter().filter(inside).for_each(|&index| add(index));
            } else {
                part.clone().for_each(|row| add(row as u32));
            }
        }
    }

    /// Computes the scores of all candidates of the queries from `query` on, in the order of the
    /// corpus, so that rows that several queries need are read once.
    fn decide(&self, query: usize, lists: &mut [Candidates]) {
        /// Rows that stay in cache meanwhile.
        const STRETCH: usize = 1024;
        /// Candidates that a row is fetched ahead of its use.
        const AHEAD: usize = 4;
        let scores: Vec<_> = (query..).take(lists.len()).map(|query| self.score(query)).collect();
        let mut places = vec![0; lists.len()];
        lists.iter_mut().for_each(|list| {
            list.cut_by_bounds();
        });
        // List, place in it, and row.
        let mut due: Vec<(usize, usize, u32)> = Vec::new();
        for end in (STRETCH..self.corpus.rows + STRETCH).step_by(STRETCH) {
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
                    prefetch(self.corpus.row(later as usize));
                }
                lists[list].decide(place, scores[list](index));
            }
        }
    }

    /// Rounds and packs a block of queries.
    fn block(&self, queries: Range<usize>) -> QueryBlock {
        let products = self.prepared.products;
        let empty = Panel {
            lines: products.panel(self.prepared.width),
            thresholds: Thresholds {
                score: [f32::INFINITY; QUERIES],
                length: [1.0; QUERIES],
                lost: [0.0; QUERIES],
            },
            scales: [QueryScale { unit: 0.0, weight: 0.0, lost: 0.0, inverse: 0.0 }; QUERIES],
        };
        let mut panels = vec![empty; queries.len().div_ceil(QUERIES)];
        let mut bytes = vec![0; self.prepared.width];
        let mut bounded = Vec::with_capacity(queries.len());
        for (place, query) in queries.clone().enumerate() {
            let source = self.queries.row(query);
            let length = norm(self.isa, source);
            let weight = match self.similarity {
                Similarity::Cosine => 1.0,
                _ => length * self.prepared.longest,
            };
            bounded.push(length.is_finite() && BOUNDED.contains(&weight));
            if !bounded[place] {
                continue;
            }
            let narrow_sums = products.has_narrow_sums();
            let rounding = Rounding { factor: 1.0 / length, offset: 0, narrow_sums };
            let rounded = round(self.isa, source, rounding, &mut bytes);
            let (panel, lane) = (&mut panels[place / QUERIES], place % QUERIES);
            let inverse = 1.0 / f64::from(rounded.scale);
            panel.scales[lane] = QueryScale {
                unit: (f64::from(rounded.scale) * weight) as f32,
                weight: weight as f32,
                lost: rounded.lost as f32,
                inverse,
            };
            panel.thresholds.score[lane] = f32::NEG_INFINITY;
            panel.thresholds.length[lane] = (inverse * (1.0 + ROOM)) as f32;
            panel.thresholds.lost[lane] = (rounded.lost * inverse * (1.0 + ROOM)) as f32;
            products.pack(&bytes, lane, &mut panel.lines);
        }
        let lists = queries.map(|_| Candidates::new(products, self.k)).collect();
        QueryBlock { panels, bounded, lists }
    }

    /// A function that computes the score of any row for a query; NaN counts as minus infinity.
    fn score(&self, query: usize) -> impl Fn(u32) -> f32 {
        let source = self.queries.row(query);
        let length = norm(self.isa, source);
        move |index| {
            let row = index as usize;
            let sum = self.prepared.products.dot(source, self.corpus.row(row));
            let score = match self.similarity {
                Similarity::Cosine => sum / (length * self.prepared.norms[row]),
                _ => sum,
            } as f32;
            if score.is_nan() { f32::NEG_INFINITY } else { score }
        }
    }
}

/// A block of queries and their candidates.
struct QueryBlock {
    panels: Vec<Panel>,
    /// Whether a query goes through the products of bytes.
    bounded: Vec<bool>,
    lists: Vec<Candidates>,
}

/// The bytes of [`QUERIES`] queries and what turns sums into scores.
#[derive(Clone)]
struct Panel {
    lines: Vec<Line>,
    thresholds: Thresholds,
    scales: [QueryScale; QUERIES],
}

/// What turns sums of products with a query into scores.
#[derive(Clone, Copy)]
struct QueryScale {
    /// Score of a sum of 1 with a row of scale 1.
    unit: f32,
    /// Score of the query and a row of norm 1 in its direction.
    weight: f32,
    /// Norm of the rounding error, relative to the query.
    lost: f32,
    /// One over the scale of the query's bytes.
    inverse: f64,
}

impl QueryScale {
    /// A score in units of the query's scale, with room for rounding.
    fn threshold(&self, score: f32) -> f32 {
        let score = f64::from(score);
        ((score - score.abs() * ROOM) / f64::from(self.weight) * self.inverse) as f32
    }
}

/// The terms of the comparison for a rounded row.
fn comparison(row: &RoundedRow) -> Row {
    Row {
        base: -2.0,
        inverse_scale: (1.0 / f64::from(row.scale)) as f32,
        lost: row.lost as f32,
        length: (row.length * (1.0 + ROOM)) as f32,
    }
}
