use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::cached::Cacheable;
use crate::losses::columns;
use crate::losses::cross_entropy::cross_entropy_in_place;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::settings::optional;
use crate::losses::table::NamedLoss;
use rand::seq::index;
use rankforge_encoder::{Input, ModelKind, Outputs, Text};
use serde::Deserialize;
use serde_json::json;

/// `mean over anchors of -log softmax(scale * activation(logits))[positive]`. The softmax is over
/// the anchor's positive, texts sampled from other rows (in-batch negatives), and its own hard
/// negatives.
///
/// Data: an anchor column, a positive column, any number of negative columns, and no label column.
/// Duplicate texts in a batch become false negatives, so use it with the no-duplicates sampler.
///
/// # Shapes
/// `B` rows and `C` columns besides the anchor give `N = B (min(num_negatives, (B - 1) C) + C)`
/// pairs, in blocks of one pair per row: the positives, one block for each in-batch negative, and
/// one for each negative column. Outputs are `N x 1`.
///
/// # Paper
/// Henderson et al. 2017, Efficient Natural Language Response Suggestion for Smart Reply,
/// section 4.4, arXiv:1705.00652.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultipleNegativesRankingLoss {
    /// Number of in-batch negatives sampled for each anchor; `None` takes all texts of other rows.
    #[serde(deserialize_with = "optional")]
    pub num_negatives: Option<usize>,
    /// Factor on the activated logits; 0 disables scaling.
    pub scale: f64,
    /// Applied to the logits before scaling; `None` means `Identity`.
    #[serde(deserialize_with = "optional")]
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

/// BibTeX of the paper.
pub(crate) const CITATION: &str = "@misc{henderson2017efficient,
    title={Efficient Natural Language Response Suggestion for Smart Reply},
    author={Matthew Henderson and Rami Al-Rfou and Brian Strope and Yun-hsuan Sung and \
        Laszlo Lukacs and Ruiqi Guo and Sanjiv Kumar and Balint Miklos and Ray Kurzweil},
    year={2017},
    eprint={1705.00652},
    archivePrefix={arXiv},
    primaryClass={cs.CL}
}";

const NAME: &str = "MultipleNegativesRankingLoss";

impl NamedLoss for MultipleNegativesRankingLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Cacheable for MultipleNegativesRankingLoss {
    const CACHED_NAME: &'static str = "CachedMultipleNegativesRankingLoss";
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

    fn check(&self) -> Result<(), Error> {
        if self.num_negatives == Some(0) {
            let expected = "at least 1, or none for all";
            return Err(Error::argument(format!("{NAME}.num_negatives"), expected, 0));
        }
        if !self.scale.is_finite() {
            let field = format!("{NAME}.scale");
            return Err(Error::argument(field, "a finite number", self.scale));
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        columns::expect_one_score(NAME, kind, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        columns::no_labels(NAME, examples)?;
        let texts = examples.texts(NAME)?;
        let [anchors, candidates @ ..] = texts.as_slice() else {
            unreachable!("Examples::texts refuses a batch without columns")
        };
        let [positives, hard_negatives @ ..] = candidates else {
            let expected = "at least two text columns (anchor, positive, negatives)";
            return Err(Error::rows(NAME, expected, 1));
        };
        let rows = anchors.len();
        let sampled = in_batch_negatives(rows, candidates.len(), self.num_negatives, draw);
        let slots = sampled.first().map_or(0, Vec::len);
        let mut inputs = Vec::with_capacity(rows * (slots + candidates.len()));
        let mut block = |texts: &mut dyn Iterator<Item = Text<'a>>| {
            let pairs = anchors.iter().zip(texts);
            inputs.extend(pairs.map(|(anchor, text)| Input::pair(*anchor, text)));
        };
        block(&mut positives.iter().copied());
        for slot in 0..slots {
            block(&mut sampled.iter().map(|own| candidates[own[slot] / rows][own[slot] % rows]));
        }
        for negatives in hard_negatives {
            block(&mut negatives.iter().copied());
        }
        Ok(Plan { inputs, rows, targets: Targets::None })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let LossBatch { outputs, rows, .. } = *batch;
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
            // Outputs are in blocks of one per row; block `slot` has candidate `slot` of each
            // anchor.
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
        LossOutput::new(
            sum / rows as f64,
            Outputs { rows: outputs.rows, columns: 1, values: gradient },
        )
    }
}

/// The in-batch negatives of each row, as indices `column * rows + row` of texts in other rows:
/// `num_negatives` sampled without replacement, or all in ascending order when there are at most
/// that many.
fn in_batch_negatives(
    rows: usize,
    columns: usize,
    num_negatives: Option<usize>,
    draw: Draw,
) -> Vec<Vec<usize>> {
    let others = rows - 1;
    let available = columns * others;
    // Index of the n-th text that does not belong to row `own`.
    let text = |own: usize, n: usize| {
        let row = n % others;
        (n / others) * rows + row + usize::from(row >= own)
    };
    match num_negatives {
        Some(wanted) if wanted < available => {
            let mut random = draw.random(0);
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
