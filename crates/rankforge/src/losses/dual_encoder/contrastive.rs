use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::pairwise::over_pairs;
use crate::losses::dual_encoder::similarity::DistanceMetric;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `mean over rows of 1/2 (y d^2 + (1 - y) max(0, margin - d)^2)`, where `d` is the distance of the
/// two texts of a row and `y` its label.
///
/// Data: two text columns and a label from 0 (dissimilar) to 1 (similar).
///
/// # Shapes
/// `B` rows give `2 B` single texts, column after column; outputs `2 B x E`.
///
/// # Paper
/// Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping,
/// doi:10.1109/CVPR.2006.100.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastiveLoss {
    /// Cosine distance by default.
    pub distance_metric: DistanceMetric,
    /// Distance that dissimilar texts have at least; 0.5 by default.
    pub margin: f64,
    /// Whether the value is the mean over the rows, as by default, or their sum.
    pub size_average: bool,
}

impl Default for ContrastiveLoss {
    fn default() -> ContrastiveLoss {
        let distance_metric = DistanceMetric::Cosine;
        ContrastiveLoss { distance_metric, margin: 0.5, size_average: true }
    }
}

const NAME: &str = "ContrastiveLoss";

const CITATION: &str = "@inproceedings{hadsell2006dimensionality,
    author={Hadsell, R. and Chopra, S. and LeCun, Y.},
    booktitle={2006 IEEE Computer Society Conference on Computer Vision and Pattern Recognition \
(CVPR'06)},
    title={Dimensionality Reduction by Learning an Invariant Mapping},
    year={2006},
    volume={2},
    number={},
    pages={1735-1742},
    doi={10.1109/CVPR.2006.100}
}";

/// Added to the differences of elements in Euclidean and Manhattan distances, as
/// `torch.nn.functional.pairwise_distance` does.
const SHIFT: f64 = 1e-6;

impl NamedLoss for ContrastiveLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for ContrastiveLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "distance_metric": self.distance_metric.siamese_name(),
            "margin": self.margin,
            "size_average": self.size_average,
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        columns::expect_finite(NAME, "margin", self.margin)
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let expected = "exactly two text columns and a label column";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n == 2, expected)?;
        let fits = |label| (0.0..=1.0).contains(&label);
        let labels = columns::labels(NAME, examples, fits, "a label from 0 to 1")?;
        Ok(Plan { inputs, rows, targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let labels = batch.scalars(NAME, 2);
        let share = if self.size_average { 1.0 / batch.rows as f64 } else { 1.0 };
        over_pairs(batch, &[(0, 1)], self.distance_metric.function(SHIFT), |values| {
            let mut sum = 0.0;
            for (value, label) in values.iter_mut().zip(labels) {
                let (distance, label) = (self.distance_metric.distance(*value), f64::from(*label));
                let missing = (self.margin - distance).max(0.0);
                sum += 0.5 * (label * distance * distance + (1.0 - label) * missing * missing);
                // The value falls as the distance grows.
                *value = -(label * distance - (1.0 - label) * missing) * share;
            }
            sum * share
        })
    }
}

/// The contrastive loss of the hard pairs: `sum of d^2` over the similar pairs that are farther
/// apart than the nearest dissimilar pair of the batch, plus `sum of max(0, margin - d)^2` over the
/// dissimilar pairs that are nearer than the farthest similar pair. Without dissimilar pairs, the
/// similar ones are compared with their own mean, and the reverse.
///
/// Data: two text columns and a label of 0 (dissimilar) or 1 (similar).
///
/// # Shapes
/// `B` rows give `2 B` single texts, column after column; outputs `2 B x E`.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OnlineContrastiveLoss {
    /// Cosine distance by default.
    pub distance_metric: DistanceMetric,
    /// Distance that dissimilar texts have at least; 0.5 by default.
    pub margin: f64,
}

impl Default for OnlineContrastiveLoss {
    fn default() -> OnlineContrastiveLoss {
        OnlineContrastiveLoss { distance_metric: DistanceMetric::Cosine, margin: 0.5 }
    }
}

const ONLINE: &str = "OnlineContrastiveLoss";

impl NamedLoss for OnlineContrastiveLoss {
    const NAME: &'static str = ONLINE;
    const CITATION: &'static str = "";
}

impl Loss for OnlineContrastiveLoss {
    fn name(&self) -> &'static str {
        ONLINE
    }

    fn config(&self) -> serde_json::Value {
        json!({ "distance_metric": self.distance_metric.siamese_name(), "margin": self.margin })
    }

    fn check(&self) -> Result<(), Error> {
        columns::expect_finite(ONLINE, "margin", self.margin)
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(ONLINE, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let expected = "exactly two text columns and a label column";
        let (inputs, rows) = columns::single_texts(ONLINE, examples, |n| n == 2, expected)?;
        let fits = |label| label == 0.0 || label == 1.0;
        let labels = columns::labels(ONLINE, examples, fits, "0 or 1")?;
        Ok(Plan { inputs, rows, targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let labels = batch.scalars(ONLINE, 2);
        over_pairs(batch, &[(0, 1)], self.distance_metric.function(SHIFT), |values| {
            values.iter_mut().for_each(|value| *value = self.distance_metric.distance(*value));
            let of = |wanted: f32| -> Vec<f64> {
                let pairs = values.iter().zip(labels).filter(|(_, label)| **label == wanted);
                pairs.map(|(distance, _)| *distance).collect()
            };
            let (negatives, positives) = (of(0.0), of(1.0));
            let farthest_positive = extreme(&positives, f64::max).unwrap_or(mean(&negatives));
            let nearest_negative = extreme(&negatives, f64::min).unwrap_or(mean(&positives));
            let mut sum = 0.0;
            for (value, label) in values.iter_mut().zip(labels) {
                let distance = *value;
                let missing = (self.margin - distance).max(0.0);
                // The value falls as the distance grows.
                (sum, *value) = match *label == 1.0 {
                    true if distance > nearest_negative => {
                        (sum + distance * distance, -2.0 * distance)
                    }
                    false if distance < farthest_positive => {
                        (sum + missing * missing, 2.0 * missing)
                    }
                    _ => (sum, 0.0),
                };
            }
            sum
        })
    }
}

/// The largest or smallest of some numbers.
fn extreme(numbers: &[f64], better: fn(f64, f64) -> f64) -> Option<f64> {
    numbers.iter().copied().reduce(better)
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len() as f64
}
