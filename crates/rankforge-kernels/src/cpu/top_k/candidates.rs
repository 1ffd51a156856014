//! The rows that can still be among the best of a query.

use crate::cpu::top_k::blocks::prune;
use crate::cpu::top_k::products::ByteProducts;
use crate::settings::similarity::{Neighbour, nearer_first};
use std::sync::atomic::{AtomicI64, Ordering};

/// The rows met so far that can be among the `k` best of one query, in the order they were added.
///
/// The score of a row is between `least` and `most`; both are the score where it was computed.
#[derive(Debug)]
pub(super) struct Candidates {
    products: ByteProducts,
    k: usize,
    length: usize,
    /// `least`, `most` and `index` have the same length, a multiple of the lanes of a vector; rows
    /// are in the first `length` places.
    least: Vec<f32>,
    most: Vec<f32>,
    index: Vec<u32>,
}

/// Lanes of a vector.
pub(super) const LANES: usize = 16;

impl Candidates {
    pub(super) fn new(products: ByteProducts, k: usize) -> Candidates {
        let room = Candidates::room(k);
        let (least, most) = (vec![0.0; room], vec![0.0; room]);
        Candidates { products, k, length: 0, least, most, index: vec![0; room] }
    }

    /// Initial capacity in rows: with more, cuts are rarer and the threshold is older.
    fn room(k: usize) -> usize {
        (3 * k + 64).next_multiple_of(LANES)
    }

    /// The rows, in the order they were added.
    pub(super) fn indices(&self) -> &[u32] {
        &self.index[..self.length]
    }

    /// Adds a row; returns whether the list is full and needs a [`Candidates::cut`].
    #[inline]
    pub(super) fn push(&mut self, index: u32, least: f32, most: f32) -> bool {
        let place = self.length;
        (self.index[place], self.least[place], self.most[place]) = (index, least, most);
        self.length += 1;
        self.length == self.index.len()
    }

    /// Replaces the bounds of the row at `place` by its score.
    #[inline]
    pub(super) fn decide(&mut self, place: usize, score: f32) {
        (self.least[place], self.most[place]) = (score, score);
    }

    /// Drops the rows that cannot be among the best, and returns the score that further rows must
    /// reach. `exact` computes the score of a row.
    pub(super) fn cut(&mut self, exact: impl Fn(u32) -> f32) -> f32 {
        let threshold = self.cut_by_bounds();
        let room = self.index.len();
        if self.length <= room * 3 / 4 {
            return threshold;
        }
        if room < 4 * Candidates::room(self.k) {
            self.grow(2 * room);
            return threshold;
        }
        // The bounds do not separate the rows: compute the scores.
        for place in 0..self.length {
            if self.is_open(place) {
                self.decide(place, exact(self.index[place]));
            }
        }
        let mut known = self.known();
        prune(&mut known, self.k);
        let threshold = known[self.k - 1].score;
        known.sort_unstable_by_key(|row| row.index);
        self.length = 0;
        for row in known {
            self.push(row.index, row.score, row.score);
        }
        threshold
    }

    /// Whether the score of the row at `place` is not computed yet.
    #[inline]
    pub(super) fn is_open(&self, place: usize) -> bool {
        self.least[place] < self.most[place]
    }

    /// Replaces the bounds of each row whose score is not computed by narrower ones; calls
    /// `prefetch` with the rows a little before.
    pub(super) fn narrow(&mut self, bounds: impl Fn(u32) -> (f32, f32), prefetch: impl Fn(u32)) {
        /// Rows that a row is fetched ahead of its use.
        const AHEAD: usize = 4;
        for place in 0..self.length {
            if let Some(&later) = self.indices().get(place + AHEAD) {
                prefetch(later);
            }
            if self.is_open(place) {
                let (least, most) = bounds(self.index[place]);
                self.least[place] = self.least[place].max(least);
                self.most[place] = self.most[place].min(most);
            }
        }
    }

    /// Adds the rows of a later part of the corpus.
    pub(super) fn extend(&mut self, other: &Candidates) {
        for place in 0..other.length {
            if self.length == self.index.len() {
                self.grow(2 * self.length);
            }
            self.push(other.index[place], other.least[place], other.most[place]);
        }
    }

    /// The `k` best, best first; every row must be decided.
    pub(super) fn finish(&self) -> Vec<Neighbour> {
        let mut list = self.known();
        prune(&mut list, self.k);
        list.sort_unstable_by(nearer_first);
        list.shrink_to_fit();
        list
    }

    /// Drops the rows that are surely below `k` others, and returns the score that those reach.
    pub(super) fn cut_by_bounds(&mut self) -> f32 {
        if self.length < self.k {
            return f32::NEG_INFINITY;
        }
        let whole = self.length.next_multiple_of(LANES);
        self.least[self.length..whole].fill(f32::NEG_INFINITY);
        self.most[self.length..whole].fill(f32::NEG_INFINITY);
        let least = &self.least[..whole];
        // Bisects over all `f32` in order: `reached` is at most the k-th highest of `least`,
        // `missed` is above it. Any value that separates the k highest from the others will do.
        let (mut reached, mut missed) = (order(f32::NEG_INFINITY), order(f32::INFINITY) + 1);
        while missed - reached > 1 {
            let middle = reached + (missed - reached) / 2;
            let count = self.products.count_at_least(least, in_order(middle));
            if count < self.k {
                missed = middle;
                continue;
            }
            reached = middle;
            if count == self.k {
                break;
            }
        }
        let threshold = in_order(reached);
        if threshold > f32::NEG_INFINITY {
            self.length = {
                let (most, least, index) = (&mut self.most, &mut self.least, &mut self.index);
                self.products.keep_at_least(threshold, most, least, index, whole)
            };
        }
        threshold
    }

    fn known(&self) -> Vec<Neighbour> {
        let pairs = self.indices().iter().zip(&self.least);
        pairs.map(|(&index, &score)| Neighbour { index, score }).collect()
    }

    fn grow(&mut self, room: usize) {
        self.least.resize(room, 0.0);
        self.most.resize(room, 0.0);
        self.index.resize(room, 0);
    }
}

/// A score that `k` rows of a query reach, as all threads of a search know it.
pub(super) struct Reached(AtomicI64);

impl Reached {
    pub(super) fn new() -> Reached {
        Reached(AtomicI64::new(order(f32::NEG_INFINITY)))
    }

    /// Notes that `k` rows reach `score`.
    pub(super) fn raise(&self, score: f32) {
        self.0.fetch_max(order(score), Ordering::Relaxed);
    }

    /// The highest score noted.
    pub(super) fn score(&self) -> f32 {
        in_order(self.0.load(Ordering::Relaxed))
    }
}

/// The position of a number among all `f32` in ascending order.
fn order(value: f32) -> i64 {
    let bits = value.to_bits() as i32;
    i64::from(if bits < 0 { bits ^ i32::MAX } else { bits })
}

/// The number at a position of [`order`].
fn in_order(place: i64) -> f32 {
    let place = place as i32;
    f32::from_bits(if place < 0 { place ^ i32::MAX } else { place } as u32)
}

#[cfg(test)]
mod tests {
    use super::{in_order, order};

    #[test]
    fn positions_ascend_with_the_numbers() {
        let numbers =
            [f32::NEG_INFINITY, -1.5, -1e-40, -0.0, 0.0, 1e-40, 0.25, 3e38, f32::INFINITY];
        for pair in numbers.windows(2) {
            assert!(order(pair[0]) < order(pair[1]), "{pair:?}");
        }
        for number in numbers {
            assert_eq!(in_order(order(number)).to_bits(), number.to_bits());
        }
    }
}
