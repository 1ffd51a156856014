//! Losses that choose triplets among all texts of a batch, from the distances between them.

use crate::losses::dual_encoder::score_matrix::{Compared, over_scores};
use crate::losses::loss::{LossBatch, LossOutput};
use crate::losses::settings::{by_name, name_of};
use rankforge_kernels::ops::Similarity;
use serde::{Deserialize, Deserializer};

/// The distance of all pairs of embeddings of a batch, as a function of
/// `BatchHardTripletLossDistanceFunction`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BatchDistance {
    /// `‖u - v‖`, from dot products; `euclidean_distance`, which had the name
    /// `eucledian_distance`.
    #[default]
    Euclidean,
    /// `1 - cosine`; `cosine_distance`.
    Cosine,
}

const DISTANCES: &[(&str, BatchDistance)] = &[
    ("euclidean_distance", BatchDistance::Euclidean),
    ("cosine_distance", BatchDistance::Cosine),
    ("eucledian_distance", BatchDistance::Euclidean),
    ("euclidean", BatchDistance::Euclidean),
    ("cosine", BatchDistance::Cosine),
];

impl BatchDistance {
    /// The name of the function in sentence-transformers.
    pub fn name(self) -> &'static str {
        name_of(&self, DISTANCES)
    }
}

impl<'de> Deserialize<'de> for BatchDistance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<BatchDistance, D::Error> {
        by_name(deserializer, "distance", DISTANCES)
    }
}

/// The distances from one text, the anchor, to all texts of the batch, itself included.
pub(super) struct Row<'a> {
    pub(super) anchor: usize,
    pub(super) distances: &'a [f64],
    /// The class of each text.
    labels: &'a [f32],
}

impl<'a> Row<'a> {
    /// The other texts of the anchor's class.
    pub(super) fn positives(&self) -> impl Iterator<Item = usize> + use<'a> {
        let (labels, anchor) = (self.labels, self.anchor);
        (0..labels.len()).filter(move |&text| text != anchor && labels[text] == labels[anchor])
    }

    /// The texts of other classes.
    pub(super) fn negatives(&self) -> impl Iterator<Item = usize> + use<'a> {
        let (labels, anchor) = (self.labels, self.anchor);
        (0..labels.len()).filter(move |&text| labels[text] != labels[anchor])
    }

    /// The texts of other classes from near to far.
    pub(super) fn sorted_negatives(&self) -> Vec<usize> {
        let mut negatives: Vec<usize> = self.negatives().collect();
        negatives.sort_by(|&a, &b| self.distances[a].total_cmp(&self.distances[b]).then(a.cmp(&b)));
        negatives
    }

    /// The farthest of some texts; of equal ones the first.
    pub(super) fn farthest(&self, texts: impl Iterator<Item = usize>) -> Option<usize> {
        texts.reduce(
            |best, text| {
                if self.distances[text] > self.distances[best] { text } else { best }
            },
        )
    }

    /// The nearest of some texts; of equal ones the first.
    pub(super) fn nearest(&self, texts: impl Iterator<Item = usize>) -> Option<usize> {
        texts.reduce(
            |best, text| {
                if self.distances[text] < self.distances[best] { text } else { best }
            },
        )
    }
}

/// The part of a loss that comes from one anchor: a sum of terms, and how many they are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    pub(super) sum: f64,
    pub(super) count: f64,
}

/// Computes a loss that is the mean of terms, each a function of the distances from one text.
/// `terms` gets such a row, and adds the gradient of its sum to the zeros of its second argument.
/// Without terms the value is 0.
///
/// # Shapes
/// Outputs `B x E`, and `B` labels.
pub(super) fn over_distances(
    batch: &LossBatch<'_>,
    labels: &[f32],
    distance: BatchDistance,
    terms: impl Fn(&Row<'_>, &mut [f64]) -> Terms + Sync,
) -> LossOutput {
    let texts = batch.outputs.rows;
    let similarity = match distance {
        BatchDistance::Euclidean => Similarity::Dot,
        BatchDistance::Cosine => Similarity::Cosine,
    };
    let workers = batch.device.workers();
    let compared = Compared { anchors: 0..texts, candidates: 0..texts, similarity };
    over_scores(batch, &compared, |scores| {
        let scores = scores.values_mut();
        let squares: Vec<f64> = (0..texts).map(|text| scores[text * texts + text].into()).collect();
        let of_rows = workers.map_chunks_mut(scores, texts, |anchor, scores| {
            let distances: Vec<f64> = match distance {
                BatchDistance::Cosine => scores.iter().map(|s| 1.0 - f64::from(*s)).collect(),
                BatchDistance::Euclidean => {
                    let square = |(score, square): (&f32, &f64)| {
                        squares[anchor] - 2.0 * f64::from(*score) + square
                    };
                    // Rounding makes some squares negative.
                    let squares = scores.iter().zip(&squares).map(square);
                    squares.map(|square| square.max(0.0).sqrt()).collect()
                }
            };
            let mut gradient = vec![0.0; texts];
            let found = terms(&Row { anchor, distances: &distances, labels }, &mut gradient);
            for ((score, distance_to), slope) in scores.iter_mut().zip(&distances).zip(gradient) {
                *score = match distance {
                    BatchDistance::Cosine => -slope as f32,
                    BatchDistance::Euclidean if *distance_to == 0.0 => 0.0,
                    BatchDistance::Euclidean => (-slope / distance_to) as f32,
                };
            }
            found
        });
        let count: f64 = of_rows.iter().map(|terms| terms.count).sum();
        let share = if count > 0.0 { 1.0 / count } else { 0.0 };
        if distance == BatchDistance::Euclidean {
            add_to_diagonal(scores, texts);
        }
        workers.map_chunks_mut(scores, texts, |_, row| {
            row.iter_mut().for_each(|slope| *slope = (f64::from(*slope) * share) as f32);
        });
        of_rows.iter().map(|terms| terms.sum).sum::<f64>() * share
    })
}

/// Adds the gradient of the dot products of each text with itself, which are in the distances from
/// and to it. The other elements of the matrix are the gradients of dot products; those of a
/// distance are each half of that, negated, for both texts.
fn add_to_diagonal(gradient: &mut [f32], texts: usize) {
    let mut sums = vec![0.0; texts];
    for (row, slopes) in gradient.chunks(texts).enumerate() {
        let mut of_row = 0.0;
        for (sum, slope) in sums.iter_mut().zip(slopes) {
            let slope = f64::from(*slope);
            *sum += slope;
            of_row += slope;
        }
        sums[row] += of_row;
    }
    for (text, sum) in sums.into_iter().enumerate() {
        gradient[text * texts + text] -= (sum / 2.0) as f32;
    }
}
