use crate::error::Error;
use crate::losses::activation::{Activation, sigmoid};
use crate::losses::columns;
use crate::losses::cross_encoder::list_wise::{
    Term, chunk_size, list_wise, or_identity, over_lists, plan,
};
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `mean over documents of (r_i - a_i)^2 / log2(1 + r_i)`, where `r_i` is the rank of a document by
/// its label, from 1, the average one where labels are equal, and
/// `a_i = 1 + sum over j other than i of s(alpha (s_j - s_i))` its approximate rank by the
/// activated logits, with the logistic function `s`. The mean is over the documents of all queries
/// of a batch.
///
/// Data: a query column, a column of lists of documents, and a column of lists of labels, one for
/// each document. The lists may differ in length.
///
/// # Shapes
/// `B` rows with `N` documents in all give `N` pairs, query after query; outputs `N x 1`.
///
/// # Paper
/// Schlatt et al. 2025, Rank-DistiLLM: Closing the Effectiveness Gap Between Cross-Encoders and
/// LLMs for Passage Re-Ranking, arXiv:2405.07920.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ADRMSELoss {
    /// Factor on the difference of two scores: with a larger one, approximate ranks are nearer to
    /// ranks, and scores that are far apart have smaller gradients.
    pub alpha: f64,
    /// Applied to the logits before the loss; `Identity` by default.
    #[serde(deserialize_with = "or_identity")]
    pub activation_fn: Activation,
    /// Maximum number of pairs in one forward and backward pass of gradient caching; `None` for the
    /// whole batch.
    #[serde(deserialize_with = "chunk_size")]
    pub mini_batch_size: Option<usize>,
}

impl Default for ADRMSELoss {
    fn default() -> ADRMSELoss {
        ADRMSELoss { alpha: 1.0, activation_fn: Activation::Identity, mini_batch_size: None }
    }
}

const NAME: &str = "ADRMSELoss";

const CITATION: &str = "@inproceedings{schlatt2025rankdistillm,
    title={Rank-DistiLLM: Closing the Effectiveness Gap Between Cross-Encoders and LLMs for \
Passage Re-ranking},
    author={Schlatt, Ferdinand and Fröbe, Maik and Scells, Harrisen and Zhuang, Shengyao and \
Koopman, Bevan and Zuccon, Guido and Stein, Benno and Potthast, Martin and Hagen, Matthias},
    booktitle={Advances in Information Retrieval (ECIR 2025)},
    year={2025},
    doi={10.1007/978-3-031-88714-7_31},
}";

impl NamedLoss for ADRMSELoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for ADRMSELoss {
    list_wise!();

    fn config(&self) -> serde_json::Value {
        json!({
            "alpha": self.alpha,
            "activation_fn": self.activation_fn.full_name(),
            "mini_batch_size": self.mini_batch_size,
        })
    }

    fn check(&self) -> Result<(), Error> {
        columns::expect_finite(NAME, "alpha", self.alpha)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        plan(NAME, examples)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        over_lists(NAME, batch, self.activation_fn, |scores, labels, gradient| {
            let mut sum = 0.0;
            for (i, label) in labels.iter().enumerate() {
                let rank = average_rank(labels, *label);
                let above = |j: usize| sigmoid(self.alpha * (scores[j] - scores[i]));
                let others = (0..scores.len()).filter(|j| *j != i);
                let approximate = 1.0 + others.clone().map(above).sum::<f64>();
                let discount = (1.0 + rank).log2();
                sum += (rank - approximate).powi(2) / discount;
                let slope = -2.0 * (rank - approximate) / discount;
                for j in others {
                    let part = slope * self.alpha * above(j) * (1.0 - above(j));
                    gradient[j] += part;
                    gradient[i] -= part;
                }
            }
            Term { sum, count: scores.len() }
        })
    }
}

/// The rank of a label in descending order, from 1; equal labels share the mean of their ranks.
fn average_rank(labels: &[f64], label: f64) -> f64 {
    let count =
        |is: fn(&f64, &f64) -> bool| labels.iter().filter(|other| is(other, &label)).count();
    count(f64::gt) as f64 + (count(f64::eq) as f64 + 1.0) / 2.0
}
