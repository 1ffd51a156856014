use super::activation::{log_sigmoid, sigmoid};
use super::{Activation, Draw, Examples, Labels, Loss, LossOutput, Plan, columns};
use crate::Error;
use rankforge_encoder::{Input, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean of -[w y log s(z) + (1 - y) log s(-z)]` with `z = activation(f)`, `s` the logistic function
/// and `w` the weight of positives.
///
/// Data: two text columns and a label in `0..=1`, whole or soft.
///
/// # Shapes
/// `B` rows give `B` pairs; outputs `B x 1`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BinaryCrossEntropyLoss {
    /// Applied to the logits first; the loss is one with logits, so `Identity` is right for nearly all uses.
    pub activation_fn: Activation,
    /// Weight of the positive part; the number of negatives for each positive rebalances mined pairs.
    pub pos_weight: Option<f64>,
}

const NAME: &str = "BinaryCrossEntropyLoss";

impl BinaryCrossEntropyLoss {
    /// Checks the settings.
    ///
    /// # Errors
    /// When `pos_weight` is negative or not finite.
    pub fn check(&self) -> Result<(), Error> {
        match self.pos_weight {
            Some(weight) if !weight.is_finite() || weight < 0.0 => Err(Error::Argument {
                field: format!("{NAME}.pos_weight"),
                expected: "a number from 0".to_owned(),
                got: weight.to_string(),
            }),
            _ => Ok(()),
        }
    }
}

impl Loss for BinaryCrossEntropyLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({ "activation_fn": self.activation_fn.full_name(), "pos_weight": self.pos_weight })
    }

    fn citation(&self) -> &'static str {
        ""
    }

    fn check_model(&self, output_columns: usize) -> Result<(), Error> {
        self.check()?;
        columns::one_output(NAME, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let texts = columns::text_columns(NAME, examples)?;
        let [first, second] = texts.as_slice() else {
            return Err(Error::Input(format!(
                "{NAME} expects exactly two text columns and a label column, got {} text columns",
                texts.len()
            )));
        };
        let labels = labels(&examples.labels, first.len())?;
        let inputs = first.iter().zip(second).map(|(a, b)| Input::Pair(a, b)).collect();
        Ok(Plan { inputs, rows: first.len(), labels: Labels::Scalars(labels) })
    }

    fn compute(&self, outputs: &Outputs, rows: usize, labels: &Labels) -> LossOutput {
        let Labels::Scalars(labels) = labels else { panic!("{NAME} without a label for each row") };
        assert_eq!(
            (outputs.rows, outputs.columns, labels.len()),
            (rows, 1, rows),
            "{NAME}: outputs {} x {} and {} labels for {rows} rows",
            outputs.rows,
            outputs.columns,
            labels.len()
        );
        let weight = self.pos_weight.unwrap_or(1.0);
        let mut sum = 0.0;
        let mut gradient = Vec::with_capacity(rows);
        for (logit, label) in outputs.values.iter().zip(labels) {
            let (z, slope) = self.activation_fn.apply(f64::from(*logit));
            let positive = weight * f64::from(*label);
            let negative = 1.0 - f64::from(*label);
            sum -= positive * log_sigmoid(z) + negative * log_sigmoid(-z);
            let d_z = negative * sigmoid(z) - positive * sigmoid(-z);
            gradient.push((d_z * slope / rows as f64) as f32);
        }
        LossOutput {
            value: sum / rows as f64,
            d_outputs: Outputs { rows, columns: 1, values: gradient },
            components: Vec::new(),
        }
    }
}

/// One label in `0..=1` for each row; lists of one number count as numbers.
fn labels(labels: &Labels, rows: usize) -> Result<Vec<f32>, Error> {
    let numbers: Vec<f32> = match labels {
        Labels::None => {
            return Err(Error::Input(format!(
                "{NAME} expects a label column (label, labels, score or scores), got none"
            )));
        }
        Labels::Scalars(numbers) => numbers.clone(),
        Labels::Lists(lists) => {
            if let Some(row) = lists.iter().position(|list| list.len() != 1) {
                return Err(Error::Input(format!(
                    "{NAME} expects one label for each row, got {} in row {row}",
                    lists[row].len()
                )));
            }
            lists.iter().map(|list| list[0]).collect()
        }
    };
    if numbers.len() != rows {
        return Err(Error::Input(format!(
            "{NAME} expects {rows} labels (one for each row), got {}",
            numbers.len()
        )));
    }
    match numbers.iter().position(|label| !(0.0..=1.0).contains(label)) {
        Some(row) => Err(Error::Input(format!(
            "{NAME} expects labels from 0 to 1, got {} in row {row} of the batch",
            numbers[row]
        ))),
        None => Ok(numbers),
    }
}
