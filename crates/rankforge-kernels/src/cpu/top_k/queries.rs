//! Queries in bytes, and what turns sums of products into scores.

use crate::cpu::top_k::bytes::{GROUP, ROOM, Rounding, Row, round};
use crate::cpu::top_k::candidates::Reached;
use crate::cpu::top_k::exact::norm;
use crate::cpu::top_k::products::{ByteProducts, Line, QUERIES, Thresholds};
use crate::cpu::top_k::rounded::RoundedCorpus;
use crate::isa::Supported;
use crate::settings::similarity::Similarity;

/// The bytes of [`QUERIES`] queries and what turns sums into scores.
#[derive(Clone)]
pub(super) struct Panel {
    pub(super) lines: Vec<Line>,
    pub(super) thresholds: Thresholds,
    pub(super) scales: [QueryScale; QUERIES],
}

impl Panel {
    /// A panel without queries, for rows of `width` bytes.
    pub(super) fn empty(products: ByteProducts, width: usize) -> Panel {
        Panel {
            lines: products.panel(width),
            thresholds: Thresholds {
                score: [f32::INFINITY; QUERIES],
                length: [1.0; QUERIES],
                lost: [0.0; QUERIES],
            },
            scales: [QueryScale { unit: 0.0, weight: 0.0, lost: 0.0, inverse: 0.0 }; QUERIES],
        }
    }

    /// Puts a query into a lane.
    pub(super) fn put(&mut self, products: ByteProducts, lane: usize, query: &RoundedQuery) {
        self.scales[lane] = query.scale;
        self.thresholds.score[lane] = f32::NEG_INFINITY;
        (self.thresholds.length[lane], self.thresholds.lost[lane]) = query.scale.errors();
        products.pack(&query.bytes, lane, &mut self.lines);
    }

    /// Raises the thresholds to what other threads know of the panel's queries.
    pub(super) fn raise(&mut self, reached: &[Reached]) {
        let thresholds = self.thresholds.score.iter_mut().zip(&self.scales);
        for ((threshold, scale), reached) in thresholds.zip(reached) {
            let score = reached.score();
            // A lane without a query, or with one that bytes do not bound, has an infinite one.
            if score > f32::NEG_INFINITY && *threshold < f32::INFINITY {
                *threshold = threshold.max(scale.threshold(score));
            }
        }
    }
}

/// A query in bytes.
pub(super) struct RoundedQuery {
    /// In whole groups.
    pub(super) bytes: Vec<u8>,
    pub(super) scale: QueryScale,
}

impl RoundedQuery {
    /// Rounds a query; `None` where bytes do not bound its scores.
    pub(super) fn new(
        isa: Supported,
        corpus: &RoundedCorpus<'_>,
        query: &[f32],
    ) -> Option<RoundedQuery> {
        let length = norm(isa, query);
        let weight = match corpus.similarity {
            Similarity::Cosine => 1.0,
            _ => length * corpus.longest,
        };
        if !length.is_finite() || !corpus.weights.contains(&weight) {
            return None;
        }
        let mut bytes = vec![0; query.len().next_multiple_of(GROUP)];
        let narrow_sums = corpus.products.has_narrow_sums();
        let rounding = Rounding { factor: 1.0 / length, offset: 0, narrow_sums };
        let rounded = round(isa, query, rounding, &mut bytes);
        let scale = QueryScale {
            unit: (f64::from(rounded.scale()) * weight) as f32,
            weight: weight as f32,
            lost: rounded.lost as f32,
            inverse: f64::from(rounded.inverse_scale),
        };
        Some(RoundedQuery { bytes, scale })
    }
}

/// What turns sums of products with a query into scores.
#[derive(Clone, Copy)]
pub(super) struct QueryScale {
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
    pub(super) fn threshold(&self, score: f32) -> f32 {
        /// Above all scores that bytes bound.
        const HIGHEST: f64 = 1e30;
        let score = f64::from(score);
        let score = (score - score.abs() * ROOM) / f64::from(self.weight) * self.inverse;
        // Also where the score is infinite, and the difference no number.
        score.min(HIGHEST) as f32
    }

    /// Norms of the query and of its rounding error, in units of its scale.
    pub(super) fn errors(&self) -> (f32, f32) {
        let length = self.inverse * (1.0 + ROOM);
        (length as f32, (f64::from(self.lost) * length) as f32)
    }

    /// The least and the highest score that a row may have, by the sum of its products.
    pub(super) fn bounds(&self, sum: i32, row: &Row) -> (f32, f32) {
        let score = sum as f32 * (row.scale() * self.unit);
        let bound = (row.lost + self.lost * row.length) * self.weight;
        (score - bound, score + bound)
    }
}
