use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::pairwise::over_pairs;
use crate::losses::dual_encoder::similarity::PairwiseSimilarity;
use crate::losses::examples::{Examples, Labels, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `log(1 + sum over y_i > y_j of exp(scale (s_j - s_i)))`, where `s_i` is the similarity of the
/// texts of row `i` and `y_i` its label: a pair of rows costs where the similarities have another
/// order than the labels.
///
/// Data: two text columns and a label, of which only the order counts.
///
/// # Shapes
/// `B` rows give `2 B` single texts, column after column; outputs `2 B x E`.
///
/// # Paper
/// Huang et al. 2024, CoSENT: Consistent Sentence Embedding via Similarity Ranking,
/// doi:10.1109/TASLP.2024.3402087.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoSENTLoss {
    /// Factor on the similarities, the inverse of the temperature; 20 by default.
    pub scale: f64,
    /// Cosine by default.
    pub similarity_fct: PairwiseSimilarity,
}

impl Default for CoSENTLoss {
    fn default() -> CoSENTLoss {
        CoSENTLoss { scale: 20.0, similarity_fct: PairwiseSimilarity::Cosine }
    }
}

const NAME: &str = "CoSENTLoss";

const CITATION: &str = "@article{10531646,
    author={Huang, Xiang and Peng, Hao and Zou, Dongcheng and Liu, Zhiwei and Li, Jianxin and Liu, \
Kay and Wu, Jia and Su, Jianlin and Yu, Philip S.},
    journal={IEEE/ACM Transactions on Audio, Speech, and Language Processing},
    title={CoSENT: Consistent Sentence Embedding via Similarity Ranking},
    year={2024},
    doi={10.1109/TASLP.2024.3402087}
}";

impl NamedLoss for CoSENTLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for CoSENTLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({ "scale": self.scale, "similarity_fct": self.similarity_fct.name() })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        columns::expect_finite(NAME, "scale", self.scale)
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
        consistent_order(NAME, batch, self.scale, self.similarity_fct)
    }
}

/// [`CoSENTLoss`] with the angle between embeddings as complex vectors in place of the cosine,
/// whose gradient does not vanish where embeddings are nearly parallel.
///
/// Data: two text columns and a label, of which only the order counts; or an anchor, a positive and
/// one or more negatives, with or without a label. Then a row is a pair of anchor and positive with
/// the label `y` (1 without a label column), and a pair of the anchor with each negative with the
/// label `1 - y`.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
///
/// # Paper
/// Li and Li 2023, AnglE-optimized Text Embeddings, arXiv:2309.12871.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AnglELoss {
    /// Factor on the similarities, the inverse of the temperature; 20 by default.
    pub scale: f64,
}

impl Default for AnglELoss {
    fn default() -> AnglELoss {
        AnglELoss { scale: 20.0 }
    }
}

const ANGLE: &str = "AnglELoss";

const ANGLE_CITATION: &str = "@inproceedings{li-li-2024-aoe,
    title = \"{A}o{E}: Angle-optimized Embeddings for Semantic Textual Similarity\",
    author = \"Li, Xianming and Li, Jing\",
    year = \"2024\",
    publisher = \"Association for Computational Linguistics\",
    url = \"https://aclanthology.org/2024.acl-long.101/\",
    doi = \"10.18653/v1/2024.acl-long.101\"
}";

impl NamedLoss for AnglELoss {
    const NAME: &'static str = ANGLE;
    const CITATION: &'static str = ANGLE_CITATION;
}

impl Loss for AnglELoss {
    fn name(&self) -> &'static str {
        ANGLE
    }

    fn config(&self) -> serde_json::Value {
        json!({ "scale": self.scale, "similarity_fct": PairwiseSimilarity::Angle.name() })
    }

    fn citation(&self) -> &'static str {
        ANGLE_CITATION
    }

    fn check(&self) -> Result<(), Error> {
        columns::expect_finite(ANGLE, "scale", self.scale)
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(ANGLE, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let expected = "two text columns and a label column, or more text columns (anchor, \
                        positive, negatives)";
        let (inputs, rows) = columns::single_texts(ANGLE, examples, |n| n >= 2, expected)?;
        let of_positives = match examples.labels {
            Labels::None if examples.columns.len() > 2 => vec![1.0; rows],
            _ => columns::labels(ANGLE, examples, f32::is_finite, "a finite number")?,
        };
        let of_negatives = of_positives.iter().map(|label| 1.0 - label);
        let negatives = examples.columns.len() - 2;
        let mut labels = of_positives.clone();
        labels.extend(of_negatives.cycle().take(negatives * rows));
        Ok(Plan { inputs, rows, targets: Targets::Scalars(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        consistent_order(ANGLE, batch, self.scale, PairwiseSimilarity::Angle)
    }
}

/// The loss of both, for pairs of the first column with each of the others. The targets are a label
/// for each pair.
fn consistent_order(
    name: &str,
    batch: &LossBatch<'_>,
    scale: f64,
    similarity: PairwiseSimilarity,
) -> LossOutput {
    let Targets::Scalars(labels) = batch.targets else { panic!("{name} without labels") };
    let (rows, outputs) = (batch.rows, batch.outputs);
    assert!(
        rows > 0 && outputs.rows == rows + labels.len() && labels.len().is_multiple_of(rows),
        "{name}: outputs {} x {} and {} labels for {rows} rows",
        outputs.rows,
        outputs.columns,
        labels.len()
    );
    let pairs: Vec<(usize, usize)> = (1..outputs.rows / rows).map(|column| (0, column)).collect();
    over_pairs(batch, &pairs, similarity.function(), |similarities| {
        similarities.iter_mut().for_each(|similarity| *similarity *= scale);
        let value = order_in_place(similarities, labels);
        similarities.iter_mut().for_each(|slope| *slope *= scale);
        value
    })
}

/// `log(1 + sum over y_i > y_j of exp(s_j - s_i))` in `n log n` steps. Replaces the scores by its
/// gradient.
fn order_in_place(scores: &mut [f64], labels: &[f32]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| labels[a].total_cmp(&labels[b]).then(a.cmp(&b)));
    let groups: Vec<&[usize]> = order.chunk_by(|&a, &b| labels[a] == labels[b]).collect();
    // The logarithm of the sum of exp(-s) over all higher labels, of each group.
    let mut above = vec![f64::NEG_INFINITY; groups.len()];
    let mut sum = f64::NEG_INFINITY;
    for (above, group) in above.iter_mut().zip(&groups).rev() {
        *above = sum;
        sum = group.iter().fold(sum, |sum, &pair| log_add(sum, -scores[pair]));
    }
    let mut total = 0.0;
    for (group, above) in groups.iter().zip(&above) {
        total = group.iter().fold(total, |total, &pair| log_add(total, scores[pair] + above));
    }
    let mut below = f64::NEG_INFINITY;
    for (group, above) in groups.iter().zip(&above) {
        let lower = below;
        below = group.iter().fold(below, |sum, &pair| log_add(sum, scores[pair]));
        for &pair in *group {
            let as_lower = (scores[pair] + above - total).exp();
            let as_higher = (lower - scores[pair] - total).exp();
            scores[pair] = as_lower - as_higher;
        }
    }
    total
}

/// `log(exp(a) + exp(b))`.
fn log_add(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    if high == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}
