use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::pairwise::over_pairs;
use crate::losses::dual_encoder::similarity::PairwiseSimilarity;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::margin_errors::margin_errors_in_place;
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `mean over rows and negatives of (s(query, positive) - s(query, negative) - m)^2`, where `m` is
/// the margin of a teacher: the difference of its scores.
///
/// Data: a query column, a positive column, one or more negative columns, and a label. With `n`
/// negatives, the label of a row is a list of `n` margins, or of `n + 1` scores, that of the
/// positive first; one margin may be a number.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
///
/// # Paper
/// Hofstätter et al. 2020, Improving Efficient Neural Ranking Models with Cross-Architecture
/// Knowledge Distillation, arXiv:2010.02666.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MarginMSELoss {
    /// Dot product by default.
    pub similarity_fct: PairwiseSimilarity,
}

impl Default for MarginMSELoss {
    fn default() -> MarginMSELoss {
        MarginMSELoss { similarity_fct: PairwiseSimilarity::Dot }
    }
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
        json!({ "similarity_fct": self.similarity_fct.name() })
    }

    fn citation(&self) -> &'static str {
        columns::MARGIN_MSE_CITATION
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let expected =
            "at least three text columns (query, positive, negatives) and a label column";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n >= 3, expected)?;
        let margins = columns::margins(NAME, examples)?;
        Ok(Plan { inputs, rows, targets: Targets::Lists(margins) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let Targets::Lists(margins) = batch.targets else { panic!("{NAME} without margins") };
        let negatives = margins.first().map_or(0, Vec::len);
        batch.expect_columns(NAME, negatives + 2);
        let pairs: Vec<(usize, usize)> = (1..negatives + 2).map(|column| (0, column)).collect();
        over_pairs(batch, &pairs, self.similarity_fct.function(), |scores| {
            margin_errors_in_place(scores, margins)
        })
    }
}
