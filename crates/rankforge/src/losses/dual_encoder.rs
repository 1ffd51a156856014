//! Losses for dual encoders: the outputs are embeddings of single texts.

use super::multiple_negatives_ranking::CITATION;
use super::softmax::cross_entropy_in_place;
use super::{Draw, Examples, Labels, Loss, LossOutput, Plan, columns};
use crate::Error;
use rankforge_encoder::{Input, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean over i of -log softmax_j(scale cos(a_i, c_j))[i]`, the candidates `c` being all positives of the
/// batch, then all texts of each negative column.
///
/// Data: an anchor column, a positive column, any number of negative columns, no label.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
///
/// # Paper
/// Henderson et al. 2017, Efficient Natural Language Response Suggestion for Smart Reply, section 4.4.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultipleNegativesRankingLoss {
    /// Factor of the cosines, the inverse of the temperature.
    pub scale: f64,
}

impl Default for MultipleNegativesRankingLoss {
    fn default() -> MultipleNegativesRankingLoss {
        MultipleNegativesRankingLoss { scale: 20.0 }
    }
}

const NAME: &str = "MultipleNegativesRankingLoss";

impl Loss for MultipleNegativesRankingLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "scale": self.scale,
            "similarity_fct": "cos_sim",
            "directions": ["query_to_doc"],
            "partition_mode": "joint",
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check_model(&self, _output_columns: usize) -> Result<(), Error> {
        if self.scale.is_finite() {
            return Ok(());
        }
        Err(Error::Argument {
            field: format!("{NAME}.scale"),
            expected: "a finite number".to_owned(),
            got: self.scale.to_string(),
        })
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::no_labels(NAME, examples)?;
        let texts = columns::text_columns(NAME, examples)?;
        if texts.len() < 2 {
            return Err(Error::Input(format!(
                "{NAME} expects at least two text columns (anchor, positive, negatives), got {}",
                texts.len()
            )));
        }
        let rows = texts[0].len();
        let inputs = texts.into_iter().flatten().map(Input::Single).collect();
        Ok(Plan { inputs, rows, labels: Labels::None })
    }

    fn compute(&self, outputs: &Outputs, rows: usize, _labels: &Labels) -> LossOutput {
        assert!(
            rows > 0 && outputs.rows.is_multiple_of(rows) && outputs.rows >= 2 * rows,
            "{NAME}: outputs {} x {} for {rows} rows",
            outputs.rows,
            outputs.columns
        );
        let width = outputs.columns;
        let (units, lengths) = unit_rows(outputs);
        let (anchors, candidates) = units.split_at(rows * width);
        let mut d_units = vec![0.0; units.len()];
        let (d_anchors, d_candidates) = d_units.split_at_mut(rows * width);
        let mut logits = vec![0.0; outputs.rows - rows];
        let mut sum = 0.0;
        for (row, anchor) in anchors.chunks_exact(width).enumerate() {
            for (logit, candidate) in logits.iter_mut().zip(candidates.chunks_exact(width)) {
                *logit = self.scale * dot(anchor, candidate);
            }
            sum += cross_entropy_in_place(&mut logits, row);
            let d_anchor = &mut d_anchors[row * width..(row + 1) * width];
            let pairs = candidates.chunks_exact(width).zip(d_candidates.chunks_exact_mut(width));
            for (probability, (candidate, d_candidate)) in logits.iter().zip(pairs) {
                let d_cosine = probability * self.scale / rows as f64;
                add_scaled(d_anchor, d_cosine, candidate);
                add_scaled(d_candidate, d_cosine, anchor);
            }
        }
        LossOutput {
            value: sum / rows as f64,
            d_outputs: unit_rows_backward(&d_units, &units, &lengths, width),
            components: Vec::new(),
        }
    }
}

/// Shorter embeddings are divided by this length, so that zeros stay zeros.
const SHORTEST: f64 = 1e-12;

/// Each embedding over its length, and the lengths.
fn unit_rows(outputs: &Outputs) -> (Vec<f64>, Vec<f64>) {
    let mut units: Vec<f64> = outputs.values.iter().copied().map(f64::from).collect();
    let mut lengths = Vec::with_capacity(outputs.rows);
    for row in units.chunks_exact_mut(outputs.columns) {
        let length = dot(row, row).sqrt().max(SHORTEST);
        row.iter_mut().for_each(|value| *value /= length);
        lengths.push(length);
    }
    (units, lengths)
}

/// The gradient of the embeddings from that of the unit vectors: its part across the vector, over the
/// length; nothing for an embedding without a direction.
fn unit_rows_backward(d_units: &[f64], units: &[f64], lengths: &[f64], width: usize) -> Outputs {
    let mut values = Vec::with_capacity(units.len());
    let rows = d_units.chunks_exact(width).zip(units.chunks_exact(width));
    for ((d_unit, unit), length) in rows.zip(lengths) {
        let along = dot(d_unit, unit);
        if *length == SHORTEST {
            values.extend(std::iter::repeat_n(0.0, width));
            continue;
        }
        values.extend(d_unit.iter().zip(unit).map(|(d, u)| ((d - along * u) / length) as f32));
    }
    Outputs { rows: lengths.len(), columns: width, values }
}

/// Dot product in eight partial sums, an order that vectorises and never changes.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut partial = [0.0; 8];
    let (a_chunks, b_chunks) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a_chunks.zip(b_chunks) {
        for lane in 0..8 {
            partial[lane] += x[lane] * y[lane];
        }
    }
    partial.iter().sum::<f64>() + rest
}

fn add_scaled(target: &mut [f64], factor: f64, values: &[f64]) {
    for (target, value) in target.iter_mut().zip(values) {
        *target += factor * value;
    }
}
