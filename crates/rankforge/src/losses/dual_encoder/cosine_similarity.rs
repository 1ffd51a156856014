use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::columns;
use crate::losses::dual_encoder::pairwise::{PairFunction, over_pairs};
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::settings::{by_name, name_of};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// `mean over rows of (f(cos(u, v)) - y)^2` for the two texts of a row and its label `y`, where `f`
/// is the transformation.
///
/// Data: two text columns and a label, usually from 0 to 1.
///
/// # Shapes
/// `B` rows give `2 B` single texts, column after column; outputs `2 B x E`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CosineSimilarityLoss {
    /// What compares the transformed cosine with the label; the squared error by default.
    pub loss_fct: Regression,
    /// Applied to the cosine; none by default.
    pub cos_score_transformation: Activation,
}

/// The error of a number, as a class of `torch.nn`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Regression {
    /// `(x - y)^2`.
    #[default]
    MSELoss,
    /// `|x - y|`.
    L1Loss,
}

const REGRESSIONS: &[(&str, Regression)] =
    &[("MSELoss", Regression::MSELoss), ("L1Loss", Regression::L1Loss)];

impl Regression {
    /// The error `difference = x - y`, and its derivative with respect to `x`.
    fn apply(self, difference: f64) -> (f64, f64) {
        match self {
            Regression::MSELoss => (difference * difference, 2.0 * difference),
            Regression::L1Loss if difference == 0.0 => (0.0, 0.0),
            Regression::L1Loss => (difference.abs(), difference.signum()),
        }
    }
}

impl<'de> Deserialize<'de> for Regression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Regression, D::Error> {
        by_name(deserializer, "loss function", REGRESSIONS)
    }
}

const NAME: &str = "CosineSimilarityLoss";

impl NamedLoss for CosineSimilarityLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = "";
}

impl Loss for CosineSimilarityLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        let loss_fct = name_of(&self.loss_fct, REGRESSIONS);
        json!({
            "loss_fct": format!("torch.nn.modules.loss.{loss_fct}"),
            "cos_score_transformation": self.cos_score_transformation.full_name(),
        })
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let expected = "exactly two text columns and a label column";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n == 2, expected)?;
        let labels = columns::labels(NAME, examples, f32::is_finite, "a finite number")?;
        Ok(Plan { inputs, rows, targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let labels = batch.scalars(NAME, 2);
        let share = 1.0 / batch.rows as f64;
        over_pairs(batch, &[(0, 1)], PairFunction::Cosine, |cosines| {
            let mut sum = 0.0;
            for (cosine, label) in cosines.iter_mut().zip(labels) {
                let (value, slope) = self.cos_score_transformation.apply(*cosine);
                let (error, d_value) = self.loss_fct.apply(value - f64::from(*label));
                sum += error;
                *cosine = d_value * slope * share;
            }
            sum * share
        })
    }
}
