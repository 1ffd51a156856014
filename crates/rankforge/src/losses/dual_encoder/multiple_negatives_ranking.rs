use crate::error::Error;
use crate::losses::cached::Cacheable;
use crate::losses::columns;
use crate::losses::cross_encoder::multiple_negatives_ranking::CITATION;
use crate::losses::cross_entropy::cross_entropy;
use crate::losses::dual_encoder::score_matrix::{Compared, over_scores};
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use rankforge_encoder::{Input, ModelKind};
use rankforge_kernels::ops::Similarity;
use serde::Deserialize;
use serde_json::json;

/// `mean over i of -log softmax_j(scale * cos(a_i, c_j))[i]`, where `a_i` are the anchors. The
/// candidates `c_j` are the positives of all rows, followed by the texts of each negative column.
///
/// Data: an anchor column, a positive column, any number of negative columns, and no label column.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
///
/// # Paper
/// Henderson et al. 2017, Efficient Natural Language Response Suggestion for Smart Reply, section
/// 4.4, arXiv:1705.00652.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultipleNegativesRankingLoss {
    /// Factor on the cosine similarities, the inverse of the temperature; 20 by default.
    pub scale: f64,
}

impl Default for MultipleNegativesRankingLoss {
    fn default() -> MultipleNegativesRankingLoss {
        MultipleNegativesRankingLoss { scale: 20.0 }
    }
}

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
            "similarity_fct": "cos_sim",
            "directions": ["query_to_doc"],
            "partition_mode": "joint",
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        if self.scale.is_finite() {
            return Ok(());
        }
        Err(Error::argument(format!("{NAME}.scale"), "a finite number", self.scale))
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::no_labels(NAME, examples)?;
        let texts = examples.texts(NAME)?;
        if texts.len() < 2 {
            let expected = "at least two text columns (anchor, positive, negatives)";
            return Err(Error::rows(NAME, expected, texts.len()));
        }
        let rows = texts[0].len();
        let inputs = texts.into_iter().flatten().map(Input::single).collect();
        Ok(Plan { inputs, rows, targets: Targets::None })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let (rows, outputs) = (batch.rows, batch.outputs);
        assert!(
            rows > 0 && outputs.rows.is_multiple_of(rows) && outputs.rows >= 2 * rows,
            "{NAME}: outputs {} x {} for {rows} rows",
            outputs.rows,
            outputs.columns
        );
        let compared = Compared {
            anchors: 0..rows,
            candidates: rows..outputs.rows,
            similarity: Similarity::Cosine,
        };
        let share = 1.0 / rows as f64;
        over_scores(batch, &compared, |scores| {
            scores.mean_over_rows(|row, scores| cross_entropy(scores, self.scale, row, share))
        })
    }
}
