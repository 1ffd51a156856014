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

/// `mean over rows of max(0, d(anchor, positive) - d(anchor, negative) + margin)` for a distance
/// `d`.
///
/// Data: an anchor column, a positive column, a negative column, and no label column.
///
/// # Shapes
/// `B` rows give `3 B` single texts, column after column; outputs `3 B x E`.
///
/// # Paper
/// Hermans et al. 2017, In Defense of the Triplet Loss for Person Re-Identification,
/// arXiv:1703.07737.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TripletLoss {
    /// Euclidean distance by default.
    pub distance_metric: DistanceMetric,
    /// How much farther than the positive the negative is at least; 5 by default.
    pub triplet_margin: f64,
}

impl Default for TripletLoss {
    fn default() -> TripletLoss {
        TripletLoss { distance_metric: DistanceMetric::Euclidean, triplet_margin: 5.0 }
    }
}

const NAME: &str = "TripletLoss";

pub(super) const CITATION: &str = "@misc{hermans2017defense,
    title={In Defense of the Triplet Loss for Person Re-Identification},
    author={Alexander Hermans and Lucas Beyer and Bastian Leibe},
    year={2017},
    eprint={1703.07737},
    archivePrefix={arXiv},
    primaryClass={cs.CV}
}";

impl NamedLoss for TripletLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for TripletLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "distance_metric": self.distance_metric.triplet_name(),
            "triplet_margin": self.triplet_margin,
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        columns::expect_finite(NAME, "triplet_margin", self.triplet_margin)
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::no_labels(NAME, examples)?;
        let expected = "exactly three text columns (anchor, positive, negative)";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n == 3, expected)?;
        Ok(Plan { inputs, rows, targets: Targets::None })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let rows = batch.expect_columns(NAME, 3);
        let share = 1.0 / rows as f64;
        let function = self.distance_metric.function(0.0);
        over_pairs(batch, &[(0, 1), (0, 2)], function, |values| {
            let (positives, negatives) = values.split_at_mut(rows);
            let mut sum = 0.0;
            for (positive, negative) in positives.iter_mut().zip(negatives) {
                // A value is a negative distance, up to a constant.
                let cost = (*negative - *positive + self.triplet_margin).max(0.0);
                sum += cost;
                let slope = if cost > 0.0 { share } else { 0.0 };
                (*positive, *negative) = (-slope, slope);
            }
            sum * share
        })
    }
}
