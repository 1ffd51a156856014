use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::columns;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::reduction::Reduction;
use crate::losses::table::NamedLoss;
use rankforge_encoder::{ModelKind, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean over rows of (activation(logit) - y)^2`, where `y` is the label: the score of a teacher,
/// or a gold score.
///
/// Data: two text columns and a label. The activation must give what the labels are: scores that a
/// teacher gave after a sigmoid need `Sigmoid`.
///
/// # Shapes
/// `B` rows give `B` pairs; outputs `B x 1`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MSELoss {
    /// Applied to the logits before the loss; `Identity` by default.
    pub activation_fn: Activation,
    /// The mean or the sum over rows, as in `torch.nn.MSELoss`.
    pub reduction: Reduction,
}

const NAME: &str = "MSELoss";

impl NamedLoss for MSELoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = "";
}

impl Loss for MSELoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        self.reduction.tell(json!({ "activation_fn": self.activation_fn.full_name() }))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_one_score(NAME, kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let inputs = columns::pairs(NAME, examples)?;
        let labels = columns::labels(NAME, examples, f32::is_finite, "a finite number")?;
        Ok(Plan { rows: inputs.len(), inputs, targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let labels = batch.scalars(NAME, 1);
        let divisor = self.reduction.divisor(batch.rows as f64);
        let mut sum = 0.0;
        let each = batch.outputs.values.iter().zip(labels).map(|(logit, label)| {
            let (score, slope) = self.activation_fn.apply(f64::from(*logit));
            let error = score - f64::from(*label);
            sum += error * error;
            (2.0 * error * slope / divisor) as f32
        });
        let values = each.collect();
        LossOutput::new(sum / divisor, Outputs { rows: batch.rows, columns: 1, values })
    }
}
