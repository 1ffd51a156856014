use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::score_matrix::{Compared, over_scores};
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use rankforge_kernels::ops::Similarity;
use serde::Deserialize;
use serde_json::json;

/// `mean over i of max(0, p - cos(a_i, b_i)) + max(0, max over j != i of cos(a_i, b_j) - n)` for
/// anchors `a`, positives `b` and the margins `p` and `n`: the negative of an anchor is the most
/// similar positive of another row.
///
/// Data: an anchor column, a positive column, and no label column; in large batches.
///
/// # Shapes
/// `B` rows give `2 B` single texts, column after column; outputs `2 B x E`.
///
/// # Paper
/// Wieting and Gimpel 2018, ParaNMT-50M, doi:10.18653/v1/P18-1042.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MegaBatchMarginLoss {
    /// Cosine that an anchor and its positive have at least; 0.8 by default.
    pub positive_margin: f64,
    /// Cosine that an anchor and its negative have at most; 0.3 by default.
    pub negative_margin: f64,
    /// Whether gradient caching keeps the activations of `mini_batch_size` texts only, as by
    /// default, or those of the whole batch are kept. Value and gradient are the same.
    pub use_mini_batched_version: bool,
    /// Maximum number of sequences in one forward and backward pass; 50 by default.
    pub mini_batch_size: usize,
}

impl Default for MegaBatchMarginLoss {
    fn default() -> MegaBatchMarginLoss {
        MegaBatchMarginLoss {
            positive_margin: 0.8,
            negative_margin: 0.3,
            use_mini_batched_version: true,
            mini_batch_size: 50,
        }
    }
}

const NAME: &str = "MegaBatchMarginLoss";

const CITATION: &str = "@inproceedings{wieting-gimpel-2018-paranmt,
    title = \"{P}ara{NMT}-50{M}: Pushing the Limits of Paraphrastic Sentence Embeddings with \
Millions of Machine Translations\",
    author = \"Wieting, John and Gimpel, Kevin\",
    editor = \"Gurevych, Iryna and Miyao, Yusuke\",
    booktitle = \"Proceedings of the 56th Annual Meeting of the Association for Computational \
Linguistics (Volume 1: Long Papers)\",
    month = jul,
    year = \"2018\",
    address = \"Melbourne, Australia\",
    publisher = \"Association for Computational Linguistics\",
    url = \"https://aclanthology.org/P18-1042\",
    doi = \"10.18653/v1/P18-1042\",
    pages = \"451--462\",
}";

impl NamedLoss for MegaBatchMarginLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for MegaBatchMarginLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "positive_margin": self.positive_margin,
            "negative_margin": self.negative_margin,
            "mini_batch_size": self.mini_batch_size,
            "mini_batch_num_tokens": null,
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn mini_batch_size(&self) -> Option<usize> {
        self.use_mini_batched_version.then_some(self.mini_batch_size)
    }

    fn check(&self) -> Result<(), Error> {
        columns::expect_finite(NAME, "positive_margin", self.positive_margin)?;
        columns::expect_finite(NAME, "negative_margin", self.negative_margin)?;
        if self.mini_batch_size == 0 {
            return Err(Error::argument(format!("{NAME}.mini_batch_size"), "at least 1", 0));
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::no_labels(NAME, examples)?;
        let expected = "exactly two text columns (anchor, positive), as negatives are the \
                        positives of other rows";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n == 2, expected)?;
        Ok(Plan { inputs, rows, targets: Targets::None })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let rows = batch.expect_columns(NAME, 2);
        let similarity = Similarity::Cosine;
        let compared = Compared { anchors: 0..rows, candidates: rows..2 * rows, similarity };
        let share = (1.0 / rows as f64) as f32;
        over_scores(batch, &compared, |scores| {
            scores.mean_over_rows(|row, scores| {
                let others = (0..scores.len()).filter(|&other| other != row);
                let hardest = others.reduce(|best, other| match scores[other] > scores[best] {
                    true => other,
                    false => best,
                });
                let missing = (self.positive_margin - f64::from(scores[row])).max(0.0);
                let excess = hardest.map_or(0.0, |hardest| {
                    (f64::from(scores[hardest]) - self.negative_margin).max(0.0)
                });
                scores.fill(0.0);
                if missing > 0.0 {
                    scores[row] = -share;
                }
                if let Some(hardest) = hardest.filter(|_| excess > 0.0) {
                    scores[hardest] = share;
                }
                missing + excess
            })
        })
    }
}
