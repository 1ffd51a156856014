use crate::error::Error;
use crate::losses::activation::{log_sigmoid, sigmoid};
use crate::losses::columns;
use crate::losses::dual_encoder::batch_distances::{BatchDistance, Row, Terms, over_distances};
use crate::losses::dual_encoder::triplet::CITATION;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `mean over i of max(0, max over positives p of d(i, p) - min over negatives n of d(i, n) +
/// margin)`: each text with its farthest positive, a text of its class, and its nearest negative, a
/// text of another class. Without positives, their distance counts as 0; without negatives, the
/// term of a text is the margin.
///
/// Data: one text column and a label, which is the number of a class.
///
/// # Shapes
/// `B` rows give `B` single texts; outputs `B x E`.
///
/// # Paper
/// Hermans et al. 2017, In Defense of the Triplet Loss for Person Re-Identification,
/// arXiv:1703.07737.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchHardTripletLoss {
    /// Euclidean distance by default.
    pub distance_metric: BatchDistance,
    /// 5 by default.
    pub margin: f64,
}

/// [`BatchHardTripletLoss`] with `log(1 + exp(x))` in place of `max(0, x + margin)`.
///
/// Data, shapes and paper are those of [`BatchHardTripletLoss`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchHardSoftMarginTripletLoss {
    /// Euclidean distance by default.
    pub distance_metric: BatchDistance,
}

/// `mean over i and positives p of max(0, d(i, p) - d(i, n) + margin)`, where `n` is the nearest
/// negative that is farther than `p`, or the farthest negative where none is. Without negatives,
/// `d(i, n)` counts as 0.
///
/// Data and shapes are those of [`BatchHardTripletLoss`].
///
/// # Paper
/// Schroff et al. 2015, FaceNet: A Unified Embedding for Face Recognition and Clustering,
/// arXiv:1503.03832.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchSemiHardTripletLoss {
    /// Euclidean distance by default.
    pub distance_metric: BatchDistance,
    /// 5 by default.
    pub margin: f64,
}

/// The mean of `d(i, p) - d(i, n) + margin` over all triplets of a text, a positive and a negative
/// for which it is positive.
///
/// Data, shapes and paper are those of [`BatchHardTripletLoss`].
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BatchAllTripletLoss {
    /// Euclidean distance by default.
    pub distance_metric: BatchDistance,
    /// 5 by default.
    pub margin: f64,
}

/// The margin of the losses that have one, as in sentence-transformers.
const MARGIN: f64 = 5.0;

impl BatchHardTripletLoss {
    fn terms(&self, row: &Row<'_>, gradient: &mut [f64]) -> Terms {
        hardest(row, gradient, |x| {
            let cost = (x + self.margin).max(0.0);
            (cost, if cost > 0.0 { 1.0 } else { 0.0 })
        })
    }
}

impl BatchHardSoftMarginTripletLoss {
    fn terms(&self, row: &Row<'_>, gradient: &mut [f64]) -> Terms {
        hardest(row, gradient, |x| (-log_sigmoid(-x), sigmoid(x)))
    }
}

/// The term `cost(farthest positive - nearest negative)` of a text. `cost` returns its value and
/// derivative.
fn hardest(row: &Row<'_>, gradient: &mut [f64], cost: impl Fn(f64) -> (f64, f64)) -> Terms {
    let positive = row.farthest(row.positives());
    let of = |text: Option<usize>| text.map_or(0.0, |text| row.distances[text]);
    // Without negatives, the farthest text takes their place, which then is the positive.
    let Some(negative) = row.nearest(row.negatives()) else {
        return Terms { sum: cost(0.0).0, count: 1.0 };
    };
    let (sum, slope) = cost(of(positive) - row.distances[negative]);
    if let Some(positive) = positive {
        gradient[positive] += slope;
    }
    gradient[negative] -= slope;
    Terms { sum, count: 1.0 }
}

impl BatchSemiHardTripletLoss {
    fn terms(&self, row: &Row<'_>, gradient: &mut [f64]) -> Terms {
        let negatives = row.sorted_negatives();
        let mut found = Terms::default();
        for positive in row.positives() {
            let distance = row.distances[positive];
            let nearer = negatives.partition_point(|&text| row.distances[text] <= distance);
            let negative = negatives.get(nearer).or(negatives.last()).copied();
            let of_negative = negative.map_or(0.0, |text| row.distances[text]);
            let cost = (distance - of_negative + self.margin).max(0.0);
            if cost > 0.0 {
                found.sum += cost;
                gradient[positive] += 1.0;
                if let Some(negative) = negative {
                    gradient[negative] -= 1.0;
                }
            }
            found.count += 1.0;
        }
        found
    }
}

impl BatchAllTripletLoss {
    /// The negatives that cost with a positive are the first of the sorted ones, so sums over them
    /// are differences of running sums.
    fn terms(&self, row: &Row<'_>, gradient: &mut [f64]) -> Terms {
        let negatives = row.sorted_negatives();
        let mut running = vec![0.0];
        for &negative in &negatives {
            running.push(running[running.len() - 1] + row.distances[negative]);
        }
        // How many positives cost with exactly this number of negatives.
        let mut ends = vec![0.0; negatives.len() + 1];
        let mut found = Terms::default();
        for positive in row.positives() {
            let limit = row.distances[positive] + self.margin;
            // Smaller costs are rounding errors.
            let costs = |&text: &usize| limit - row.distances[text] > 1e-16;
            let number = negatives.partition_point(costs);
            found.sum += number as f64 * limit - running[number];
            found.count += number as f64;
            gradient[positive] += number as f64;
            ends[number] += 1.0;
        }
        let mut positives = 0.0;
        for (index, &negative) in negatives.iter().enumerate().rev() {
            positives += ends[index + 1];
            gradient[negative] -= positives;
        }
        found
    }
}

/// The largest class number: larger ones are not distinguished by `f32`, in which labels are.
const LARGEST_CLASS: f32 = 16_777_215.0;

fn plan<'a>(name: &str, examples: &'a Examples) -> Result<Plan<'a>, Error> {
    let expected = "exactly one text column and a label column";
    let (inputs, rows) = columns::single_texts(name, examples, |n| n == 1, expected)?;
    let fits = |label: f32| label.is_finite() && label.abs() <= LARGEST_CLASS;
    let expected = format!("a class number of at most {LARGEST_CLASS}");
    let labels = columns::labels(name, examples, fits, &expected)?;
    Ok(Plan { inputs, rows, targets: Targets::Scalars(labels) })
}

/// Implements [`Loss`] for a loss with `terms`. Settings are those of the constructor in
/// sentence-transformers.
macro_rules! batch_loss {
    ($loss:ident, $name:literal, $($margin:ident)?) => {
        impl NamedLoss for $loss {
            const NAME: &'static str = $name;
            const CITATION: &'static str = CITATION;
        }

        $(impl Default for $loss {
            fn default() -> $loss {
                $loss { distance_metric: BatchDistance::default(), $margin: MARGIN }
            }
        })?

        impl Loss for $loss {
            fn name(&self) -> &'static str {
                Self::NAME
            }

            fn config(&self) -> serde_json::Value {
                json!({
                    "distance_metric": self.distance_metric.name(),
                    $(stringify!($margin): self.$margin,)?
                })
            }

            fn citation(&self) -> &'static str {
                CITATION
            }

            fn check(&self) -> Result<(), Error> {
                $(columns::expect_finite(Self::NAME, stringify!($margin), self.$margin)?;)?
                Ok(())
            }

            fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
                columns::expect_embeddings(Self::NAME, kind)
            }

            fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
                plan(Self::NAME, examples)
            }

            fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
                let labels = batch.scalars(Self::NAME, 1);
                over_distances(batch, labels, self.distance_metric, |row, gradient| {
                    self.terms(row, gradient)
                })
            }
        }
    };
}

batch_loss!(BatchHardTripletLoss, "BatchHardTripletLoss", margin);
batch_loss!(BatchHardSoftMarginTripletLoss, "BatchHardSoftMarginTripletLoss",);
batch_loss!(BatchSemiHardTripletLoss, "BatchSemiHardTripletLoss", margin);
batch_loss!(BatchAllTripletLoss, "BatchAllTripletLoss", margin);
