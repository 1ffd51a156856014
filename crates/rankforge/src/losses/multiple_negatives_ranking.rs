use super::softmax::cross_entropy_in_place;
use super::{Activation, Draw, Examples, Labels, Loss, LossOutput, Plan, columns, named};
use crate::Error;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::index;
use rankforge_encoder::{Input, Outputs};
use serde::Deserialize;
use serde_json::json;

/// `mean over anchors of -log softmax(scale activation(f))[positive]` over the anchor's positive, sampled
/// texts of other rows, and its own hard negatives.
///
/// Data: an anchor column, a positive column, any number of negative columns, no label. Duplicate
/// texts in a batch become false negatives, so use it with the no-duplicates sampler.
///
/// # Shapes
/// `B` rows and `C` columns beside the anchor give `B (1 + min(num_negatives, (B - 1) C) + C - 1)` pairs:
/// all positives, then each sampled slot for all rows, then each negative column. Outputs one column.
///
/// # Paper
/// Henderson et al. 2017, Efficient Natural Language Response Suggestion for Smart Reply, section 4.4.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultipleNegativesRankingLoss {
    /// Texts of other rows drawn for each anchor; `None` takes them all.
    #[serde(deserialize_with = "named::optional")]
    pub num_negatives: Option<usize>,
    /// Factor of the activated logits; 0 leaves them as they are.
    pub scale: f64,
    /// Applied to the logits before the scale; `None` is `Identity`.
    #[serde(deserialize_with = "named::optional")]
    pub activation_fn: Option<Activation>,
}

impl Default for MultipleNegativesRankingLoss {
    fn default() -> MultipleNegativesRankingLoss {
        MultipleNegativesRankingLoss {
            num_negatives: Some(4),
            scale: 10.0,
            activation_fn: Some(Activation::Sigmoid),
        }
    }
}

const NAME: &str = "MultipleNegativesRankingLoss";

pub(super) const CITATION: &str = "@misc{henderson2017efficient,
    title={Efficient Natural Language Response Suggestion for Smart Reply},
    author={Matthew Henderson and Rami Al-Rfou and Brian Strope and Yun-hsuan Sung and Laszlo Lukacs and Ruiqi Guo and Sanjiv Kumar and Balint Miklos and Ray Kurzweil},
    year={2017},
    eprint={1705.00652},
    archivePrefix={arXiv},
    primaryClass={cs.CL}
}";

impl MultipleNegativesRankingLoss {
    /// Checks the settings.
    ///
    /// # Errors
    /// When `num_negatives` is 0 or `scale` is not finite.
    pub fn check(&self) -> Result<(), Error> {
        check(NAME, self)
    }
}

impl Loss for MultipleNegativesRankingLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "scale": self.scale,
            "num_negatives": self.num_negatives,
            "activation_fn": self.activation_fn.map(Activation::full_name),
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check_model(&self, output_columns: usize) -> Result<(), Error> {
        self.check()?;
        columns::one_output(NAME, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        plan(NAME, self.num_negatives, examples, draw)
    }

    fn compute(&self, outputs: &Outputs, rows: usize, _labels: &Labels) -> LossOutput {
        assert!(
            outputs.columns == 1 && rows > 0 && outputs.rows.is_multiple_of(rows),
            "{NAME}: outputs {} x {} for {rows} rows",
            outputs.rows,
            outputs.columns
        );
        let candidates = outputs.rows / rows;
        let activation = self.activation_fn.unwrap_or_default();
        let scale = if self.scale == 0.0 { 1.0 } else { self.scale };
        let mut gradient = vec![0.0; outputs.rows];
        let mut logits = vec![0.0; candidates];
        let mut slopes = vec![0.0; candidates];
        let mut sum = 0.0;
        for row in 0..rows {
            // Candidate `slot` of an anchor lies in block `slot`, every block holds all anchors.
            for slot in 0..candidates {
                let (value, slope) = activation.apply(f64::from(outputs.values[slot * rows + row]));
                logits[slot] = scale * value;
                slopes[slot] = scale * slope;
            }
            sum += cross_entropy_in_place(&mut logits, 0);
            for slot in 0..candidates {
                gradient[slot * rows + row] = (logits[slot] * slopes[slot] / rows as f64) as f32;
            }
        }
        LossOutput {
            value: sum / rows as f64,
            d_outputs: Outputs { rows: outputs.rows, columns: 1, values: gradient },
            components: Vec::new(),
        }
    }
}

/// Checks the settings for the loss called `name`.
pub(super) fn check(name: &str, loss: &MultipleNegativesRankingLoss) -> Result<(), Error> {
    if loss.num_negatives == Some(0) {
        return Err(Error::Argument {
            field: format!("{name}.num_negatives"),
            expected: "at least 1, or none for all".to_owned(),
            got: "0".to_owned(),
        });
    }
    if !loss.scale.is_finite() {
        return Err(Error::Argument {
            field: format!("{name}.scale"),
            expected: "a finite number".to_owned(),
            got: loss.scale.to_string(),
        });
    }
    Ok(())
}

/// Arranges a batch for the loss called `name`.
pub(super) fn plan<'a>(
    name: &str,
    num_negatives: Option<usize>,
    examples: &'a Examples,
    draw: Draw,
) -> Result<Plan<'a>, Error> {
    columns::no_labels(name, examples)?;
    let texts = columns::text_columns(name, examples)?;
    let [anchors, candidates @ ..] = texts.as_slice() else {
        unreachable!("text_columns refuses a batch without rows")
    };
    let [positives, hard_negatives @ ..] = candidates else {
        return Err(Error::Input(format!(
            "{name} expects at least two text columns (anchor, positive, negatives), got 1"
        )));
    };
    let rows = anchors.len();
    let sampled = in_batch_negatives(rows, candidates.len(), num_negatives, draw);
    let slots = sampled.first().map_or(0, Vec::len);
    let mut inputs = Vec::with_capacity(rows * (slots + candidates.len()));
    let mut block = |texts: &mut dyn Iterator<Item = &'a str>| {
        inputs.extend(anchors.iter().zip(texts).map(|(anchor, text)| Input::Pair(anchor, text)));
    };
    block(&mut positives.iter().copied());
    for slot in 0..slots {
        block(&mut sampled.iter().map(|own| candidates[own[slot] / rows][own[slot] % rows]));
    }
    for negatives in hard_negatives {
        block(&mut negatives.iter().copied());
    }
    Ok(Plan { inputs, rows, labels: Labels::None })
}

/// For each row, distinct numbers `column * rows + row` of texts in other rows: `num_negatives` of them drawn
/// without replacement, or all in ascending order when there are no more than that.
fn in_batch_negatives(
    rows: usize,
    columns: usize,
    num_negatives: Option<usize>,
    draw: Draw,
) -> Vec<Vec<usize>> {
    let others = rows - 1;
    let available = columns * others;
    // The n-th text that is not of row `own`.
    let text = |own: usize, n: usize| {
        let row = n % others;
        (n / others) * rows + row + usize::from(row >= own)
    };
    match num_negatives {
        Some(wanted) if wanted < available => {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&draw.seed.to_le_bytes());
            seed[8..16].copy_from_slice(&draw.step.to_le_bytes());
            let mut random = ChaCha8Rng::from_seed(seed);
            (0..rows)
                .map(|own| {
                    let drawn = index::sample(&mut random, available, wanted);
                    drawn.into_iter().map(|n| text(own, n)).collect()
                })
                .collect()
        }
        _ => (0..rows).map(|own| (0..available).map(|n| text(own, n)).collect()).collect(),
    }
}
