use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::columns;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::margin_errors::margin_errors_in_place;
use crate::losses::reduction::Reduction;
use crate::losses::table::NamedLoss;
use rankforge_encoder::{Input, ModelKind, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean over rows and negatives of (f(query, positive) - f(query, negative) - m)^2`, where `f` is
/// the activated logit and `m` the margin of a teacher: the difference of its scores.
///
/// Data: a query column, a positive column, one or more negative columns, and a label. With `n`
/// negatives, the label of a row is a list of `n` margins, or of `n + 1` scores, that of the
/// positive first; one margin may be a number.
///
/// # Shapes
/// `B` rows and `C` columns besides the query give `B C` pairs, column after column; outputs
/// `B C x 1`.
///
/// # Paper
/// Hofstätter et al. 2020, Improving Efficient Neural Ranking Models with Cross-Architecture
/// Knowledge Distillation, arXiv:2010.02666.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarginMSELoss {
    /// Applied to the logits before the loss; `Identity` by default.
    pub activation_fn: Activation,
    /// The mean or the sum over margins, as in `torch.nn.MSELoss`.
    pub reduction: Reduction,
}

const NAME: &str = "MarginMSELoss";

impl NamedLoss for MarginMSELoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = columns::MARGIN_MSE_CITATION;
}

impl Loss for MarginMSELoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        self.reduction.tell(json!({ "activation_fn": self.activation_fn.full_name() }))
    }

    fn citation(&self) -> &'static str {
        columns::MARGIN_MSE_CITATION
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_one_score(NAME, kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let texts = examples.texts(NAME)?;
        let [queries, documents @ ..] = texts.as_slice() else {
            unreachable!("Examples::texts refuses a batch without columns")
        };
        let margins = columns::margins(NAME, examples)?;
        let pairs = documents.iter().flat_map(|texts| queries.iter().zip(texts));
        let inputs = pairs.map(|(query, text)| Input::pair(*query, *text)).collect();
        Ok(Plan { inputs, rows: queries.len(), targets: Targets::Lists(margins) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let Targets::Lists(margins) = batch.targets else { panic!("{NAME} without margins") };
        let negatives = margins.first().map_or(0, Vec::len);
        batch.expect_columns(NAME, negatives + 1);
        let logits = batch.outputs.values.iter();
        let activated = logits.map(|logit| self.activation_fn.apply(f64::from(*logit)));
        let (mut scores, slopes): (Vec<f64>, Vec<f64>) = activated.unzip();
        let value = margin_errors_in_place(&mut scores, margins);
        let all = (margins.len() * negatives) as f64;
        let factor = all / self.reduction.divisor(all);
        let each = scores.iter().zip(slopes).map(|(d, slope)| (d * slope * factor) as f32);
        let values = each.collect();
        LossOutput::new(value * factor, Outputs { rows: batch.outputs.rows, columns: 1, values })
    }
}
