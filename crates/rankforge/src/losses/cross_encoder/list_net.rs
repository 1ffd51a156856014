use crate::error::Error;
use crate::losses::activation::Activation;
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

/// `mean over queries of -sum_i softmax(y)_i log softmax(s)_i`, where `y` are the labels and `s`
/// the activated logits of the documents of a query.
///
/// Data: a query column, a column of lists of documents, and a column of lists of labels, one for
/// each document. The lists may differ in length.
///
/// # Shapes
/// `B` rows with `N` documents in all give `N` pairs, query after query; outputs `N x 1`.
///
/// # Paper
/// Cao et al. 2007, Learning to Rank: From Pairwise Approach to Listwise Approach, ICML.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListNetLoss {
    /// Applied to the logits before the loss; `Identity` by default.
    #[serde(deserialize_with = "or_identity")]
    pub activation_fn: Activation,
    /// Maximum number of pairs in one forward and backward pass of gradient caching; `None` for the
    /// whole batch.
    #[serde(deserialize_with = "chunk_size")]
    pub mini_batch_size: Option<usize>,
}

const NAME: &str = "ListNetLoss";

const CITATION: &str = "@inproceedings{cao2007learning,
    title={Learning to Rank: From Pairwise Approach to Listwise Approach},
    author={Cao, Zhe and Qin, Tao and Liu, Tie-Yan and Tsai, Ming-Feng and Li, Hang},
    booktitle={Proceedings of the 24th international conference on Machine learning},
    pages={129--136},
    year={2007}
}";

impl NamedLoss for ListNetLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for ListNetLoss {
    list_wise!();

    fn config(&self) -> serde_json::Value {
        json!({
            "activation_fn": self.activation_fn.full_name(),
            "mini_batch_size": self.mini_batch_size,
        })
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        plan(NAME, examples)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        over_lists(NAME, batch, self.activation_fn, |scores, labels, gradient| {
            let (wanted, found) = (log_softmax(labels), log_softmax(scores));
            let mut sum = 0.0;
            for (slope, (wanted, found)) in gradient.iter_mut().zip(wanted.iter().zip(&found)) {
                sum -= wanted.exp() * found;
                *slope = found.exp() - wanted.exp();
            }
            Term { sum, count: 1 }
        })
    }
}

/// `x_i - log sum_j exp(x_j)`.
fn log_softmax(values: &[f64]) -> Vec<f64> {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
    values.iter().map(|value| value - largest - sum.ln()).collect()
}
