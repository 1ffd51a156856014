use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::columns;
use crate::losses::examples::{Examples, LABEL_ROLE, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::reduction::Reduction;
use crate::losses::settings::optional;
use crate::losses::table::NamedLoss;
use rankforge_encoder::{ModelKind, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean over rows of -log softmax(activation(logits))[y]`, where `y` is the class of a row.
///
/// Data: two text columns and a label, a whole number from 0 to the number of classes less 1. The
/// model has an output label for each class.
///
/// # Shapes
/// `B` rows give `B` pairs; outputs `B x C` for `C` classes.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CrossEntropyLoss {
    /// Applied to the logits before the loss; `Identity` by default.
    pub activation_fn: Activation,
    /// A weight for each class: the mean over rows is weighted with that of their class. As in
    /// `torch.nn.CrossEntropyLoss`; `None` weights all alike.
    #[serde(deserialize_with = "optional")]
    pub weight: Option<Vec<f64>>,
    /// Share of the target that is spread over all classes, from 0 to 1; 0 by default. As in
    /// `torch.nn.CrossEntropyLoss`.
    pub label_smoothing: f64,
    /// A class whose rows count for nothing, which need be none of the model's; -100 by default. As
    /// in `torch.nn.CrossEntropyLoss`.
    pub ignore_index: i64,
    /// The mean or the sum over rows, as in `torch.nn.CrossEntropyLoss`.
    pub reduction: Reduction,
}

const NAME: &str = "CrossEntropyLoss";

/// PyTorch's default of `ignore_index`.
const IGNORED: i64 = -100;

impl Default for CrossEntropyLoss {
    fn default() -> CrossEntropyLoss {
        CrossEntropyLoss {
            activation_fn: Activation::Identity,
            weight: None,
            label_smoothing: 0.0,
            ignore_index: IGNORED,
            reduction: Reduction::Mean,
        }
    }
}

impl CrossEntropyLoss {
    fn ignores(&self, label: f32) -> bool {
        f64::from(label) == self.ignore_index as f64
    }
}

impl NamedLoss for CrossEntropyLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = "";
}

impl Loss for CrossEntropyLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        let mut config = json!({
            "activation_fn": self.activation_fn.full_name(),
            "weight": self.weight,
            "label_smoothing": self.label_smoothing,
        });
        if self.ignore_index != IGNORED {
            config["ignore_index"] = json!(self.ignore_index);
        }
        self.reduction.tell(config)
    }

    fn check(&self) -> Result<(), Error> {
        let weights = self.weight.as_deref().unwrap_or_default();
        if let Some(weight) = weights.iter().find(|weight| !weight.is_finite() || **weight < 0.0) {
            return Err(Error::argument(format!("{NAME}.weight"), "numbers from 0", weight));
        }
        if !(0.0..=1.0).contains(&self.label_smoothing) {
            let field = format!("{NAME}.label_smoothing");
            return Err(Error::argument(field, "a number from 0 to 1", self.label_smoothing));
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_cross_encoder(NAME, kind)?;
        if output_columns < 2 {
            let expected = format!("at least 2 output labels, as {NAME} reads one for each class");
            return Err(Error::argument("num_labels", expected, output_columns));
        }
        match &self.weight {
            Some(weights) if weights.len() != output_columns => {
                let expected = format!("{output_columns} numbers, one for each label of the model");
                Err(Error::argument(format!("{NAME}.weight"), expected, weights.len()))
            }
            _ => Ok(()),
        }
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let inputs = columns::pairs(NAME, examples)?;
        let fits = |label: f32| self.ignores(label) || label >= 0.0 && label.fract() == 0.0;
        let labels = columns::labels(NAME, examples, fits, "a class: a whole number from 0")?;
        Ok(Plan { rows: inputs.len(), inputs, targets: Targets::Scalars(labels) })
    }

    fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
        let Targets::Scalars(labels) = &plan.targets else { unreachable!("plan gives numbers") };
        let outside = |label: &f32| !self.ignores(*label) && *label as usize >= output_columns;
        match labels.iter().position(outside) {
            None => Ok(()),
            Some(row) => {
                let last = output_columns - 1;
                let expected =
                    format!("a class from 0 to {last}, as the model has {output_columns}");
                Err(Error::cell(NAME, row, LABEL_ROLE, expected, labels[row]))
            }
        }
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let labels = batch.scalars(NAME, 1);
        let Outputs { rows, columns: classes, .. } = *batch.outputs;
        let weight = |class: usize| self.weight.as_ref().map_or(1.0, |weights| weights[class]);
        let spread = self.label_smoothing / classes as f64;
        let counted = labels.iter().filter(|label| !self.ignores(**label));
        let weights: f64 = counted.map(|label| weight(*label as usize)).sum();
        // A batch of classes without weight adds nothing.
        let divisor = self.reduction.divisor(if weights == 0.0 { 1.0 } else { weights });
        let mut values = Vec::with_capacity(rows * classes);
        let mut sum = 0.0;
        for (logits, label) in batch.outputs.values.chunks(classes).zip(labels) {
            if self.ignores(*label) {
                values.extend(std::iter::repeat_n(0.0, classes));
                continue;
            }
            let activated = logits.iter().map(|logit| self.activation_fn.apply(f64::from(*logit)));
            let (scores, slopes): (Vec<f64>, Vec<f64>) = activated.unzip();
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let powers: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
            let normalizer = largest + powers.ln();
            let target = |class: usize| {
                let own = if class == *label as usize { 1.0 - self.label_smoothing } else { 0.0 };
                weight(class) * (own + spread)
            };
            let targets: Vec<f64> = (0..classes).map(target).collect();
            let total: f64 = targets.iter().sum();
            for (class, (score, slope)) in scores.iter().zip(slopes).enumerate() {
                let log = score - normalizer;
                sum -= targets[class] * log;
                let d_score = total * log.exp() - targets[class];
                values.push((d_score * slope / divisor) as f32);
            }
        }
        LossOutput::new(sum / divisor, Outputs { rows, columns: classes, values })
    }
}
