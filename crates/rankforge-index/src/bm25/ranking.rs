use rankforge_kernels::ops::Neighbour;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The best `k` of the rows that were added, in ascending order of rows.
pub(super) struct Ranking {
    k: usize,
    /// The worst row is at the top.
    heap: BinaryHeap<Worst>,
}

/// A row; the greatest has the lowest score, and of equal scores the highest number.
struct Worst(Neighbour);

impl Ranking {
    pub(super) fn new(k: usize) -> Ranking {
        Ranking { k, heap: BinaryHeap::new() }
    }

    /// Adds a row above the threshold. Rows come in ascending order, so that one with the score of
    /// the threshold is behind those that are here.
    pub(super) fn add(&mut self, row: Neighbour) {
        if self.heap.len() == self.k {
            self.heap.pop();
        }
        self.heap.push(Worst(row));
    }

    /// The score that a further row must exceed.
    pub(super) fn threshold(&self) -> f32 {
        match self.heap.peek() {
            Some(Worst(row)) if self.heap.len() == self.k => row.score,
            _ => f32::MIN,
        }
    }

    /// The rows, best first, ties by lower number.
    pub(super) fn finish(self) -> Vec<Neighbour> {
        self.heap.into_sorted_vec().into_iter().map(|Worst(row)| row).collect()
    }
}

impl Ord for Worst {
    fn cmp(&self, other: &Worst) -> Ordering {
        other.0.score.total_cmp(&self.0.score).then(self.0.index.cmp(&other.0.index))
    }
}

impl PartialOrd for Worst {
    fn partial_cmp(&self, other: &Worst) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Worst {
    fn eq(&self, other: &Worst) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Worst {}
