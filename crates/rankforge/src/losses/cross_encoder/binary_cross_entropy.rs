use crate::error::Error;
use crate::losses::activation::{Activation, log_sigmoid, sigmoid};
use crate::losses::columns;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::reduction::Reduction;
use crate::losses::table::NamedLoss;
use rankforge_encoder::{ModelKind, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean over rows of -[w y log s(z) + (1 - y) log s(-z)]`, where `z = activation(logit)`, `y` is
/// the label, `w` the weight of positives and `s` the logistic function.
///
/// Data: two text columns and a label from 0 to 1, binary or soft.
///
/// # Shapes
/// `B` rows give `B` pairs; outputs `B x 1`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryCrossEntropyLoss {
    /// Applied to the logits before the loss; `Identity` by default. The loss itself applies the
    /// logistic function, so another activation is rarely useful.
    pub activation_fn: Activation,
    /// Weight of the positive term; `None` means 1. With the number of negatives per positive, both
    /// classes have the same total weight.
    pub pos_weight: Option<f64>,
    /// The mean or the sum over rows, as in `torch.nn.BCEWithLogitsLoss`.
    pub reduction: Reduction,
}

const NAME: &str = "BinaryCrossEntropyLoss";

impl NamedLoss for BinaryCrossEntropyLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = "";
}

impl Loss for BinaryCrossEntropyLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        let activation_fn = self.activation_fn.full_name();
        let config = json!({ "activation_fn": activation_fn, "pos_weight": self.pos_weight });
        self.reduction.tell(config)
    }

    fn check(&self) -> Result<(), Error> {
        match self.pos_weight {
            Some(weight) if !weight.is_finite() || weight < 0.0 => {
                Err(Error::argument(format!("{NAME}.pos_weight"), "a number of at least 0", weight))
            }
            _ => Ok(()),
        }
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_one_score(NAME, kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let inputs = columns::pairs(NAME, examples)?;
        let fits = |label: f32| (0.0..=1.0).contains(&label);
        let labels = columns::labels(NAME, examples, fits, "a label from 0 to 1")?;
        Ok(Plan { rows: inputs.len(), inputs, targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let LossBatch { outputs, rows, targets, .. } = *batch;
        let Targets::Scalars(labels) = targets else {
            panic!("{NAME} without a label for each row");
        };
        assert_eq!(
            (outputs.rows, outputs.columns, labels.len()),
            (rows, 1, rows),
            "{NAME}: outputs {} x {} and {} labels for {rows} rows",
            outputs.rows,
            outputs.columns,
            labels.len()
        );
        let weight = self.pos_weight.unwrap_or(1.0);
        let divisor = self.reduction.divisor(rows as f64);
        let mut sum = 0.0;
        let mut gradient = Vec::with_capacity(rows);
        for (logit, label) in outputs.values.iter().zip(labels) {
            let (z, slope) = self.activation_fn.apply(f64::from(*logit));
            let positive = weight * f64::from(*label);
            let negative = 1.0 - f64::from(*label);
            sum -= positive * log_sigmoid(z) + negative * log_sigmoid(-z);
            let d_z = negative * sigmoid(z) - positive * sigmoid(-z);
            gradient.push((d_z * slope / divisor) as f32);
        }
        LossOutput::new(sum / divisor, Outputs { rows, columns: 1, values: gradient })
    }
}
