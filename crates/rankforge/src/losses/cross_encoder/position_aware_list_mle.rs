use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::columns;
use crate::losses::cross_encoder::list_wise::{
    Term, chunk_size, descending, list_wise, or_identity, over_lists, plan,
};
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::settings::{by_name, optional};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// `mean over queries of -sum_i w_i (s_i - log sum over j >= i of exp(s_j))`: `ListMLELoss` with a
/// weight for each position of the ranking. The weights of a query are divided by their sum.
///
/// Data: a query column, a column of lists of documents, and a column of lists of labels, one for
/// each document. The lists may differ in length. The ranking is the order of the documents, best
/// first, or that of their labels (`respect_input_order`).
///
/// # Shapes
/// `B` rows with `N` documents in all give `N` pairs, query after query; outputs `N x 1`.
///
/// # Paper
/// Lan et al. 2014, Position-Aware ListMLE: A Sequential Learning Process for Ranking, UAI.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PListMLELoss {
    /// The weights of positions; `None` does not weight them, as `ListMLELoss`.
    #[serde(deserialize_with = "optional")]
    pub lambda_weight: Option<PListMLELambdaWeight>,
    /// Applied to the logits before the loss; `Identity` by default.
    #[serde(deserialize_with = "or_identity")]
    pub activation_fn: Activation,
    /// Maximum number of pairs in one forward and backward pass of gradient caching; `None` for the
    /// whole batch.
    #[serde(deserialize_with = "chunk_size")]
    pub mini_batch_size: Option<usize>,
    /// Whether the documents of a row are in the order of the ranking, best first, as they are by
    /// default; otherwise they are sorted by their labels.
    pub respect_input_order: bool,
}

impl Default for PListMLELoss {
    fn default() -> PListMLELoss {
        PListMLELoss {
            lambda_weight: Some(PListMLELambdaWeight::default()),
            activation_fn: Activation::Identity,
            mini_batch_size: None,
            respect_input_order: true,
        }
    }
}

/// The weights of the positions of a ranking.
#[derive(Clone, Copy, Debug, Default)]
pub struct PListMLELambdaWeight {
    /// The weight of a rank, from 1, in a ranking of this many documents; by default
    /// `2^(documents - rank) - 1`.
    pub rank_discount_fn: Option<fn(rank: usize, documents: usize) -> f64>,
}

impl PListMLELambdaWeight {
    /// The weights of all positions, divided by their sum.
    fn normalized(self, documents: usize) -> Vec<f64> {
        // Smaller by one factor where the weight of the first position would be too large.
        let scale = documents.saturating_sub(LARGEST_EXPONENT) as f64;
        let weight = |rank: usize| match self.rank_discount_fn {
            Some(weight) => weight(rank, documents),
            None => ((documents - rank) as f64 - scale).exp2() - (-scale).exp2(),
        };
        let weights: Vec<f64> = (1..=documents).map(weight).collect();
        let sum = weights.iter().sum::<f64>() + EPSILON;
        weights.into_iter().map(|weight| weight / sum).collect()
    }
}

/// Added to the sum of the weights, which is 0 for a single document.
const EPSILON: f64 = 1e-10;

/// Weights are at most 2 to this power.
const LARGEST_EXPONENT: usize = 127;

impl<'de> Deserialize<'de> for PListMLELambdaWeight {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<PListMLELambdaWeight, D::Error> {
        let names = [("PListMLELambdaWeight", ())];
        by_name(d, "weight", &names).map(|()| PListMLELambdaWeight::default())
    }
}

const NAME: &str = "PListMLELoss";

const CITATION: &str = "@inproceedings{lan2014position,
    title={Position-Aware ListMLE: A Sequential Learning Process for Ranking},
    author={Lan, Yanyan and Zhu, Yadong and Guo, Jiafeng and Niu, Shuzi and Cheng, Xueqi},
    booktitle={UAI},
    volume={14},
    pages={449--458},
    year={2014}
}";

/// The full name of the class of the weights in sentence-transformers.
const WEIGHT_CLASS: &str =
    "sentence_transformers.cross_encoder.losses.plist_mle.PListMLELambdaWeight";

impl NamedLoss for PListMLELoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for PListMLELoss {
    list_wise!();

    fn config(&self) -> serde_json::Value {
        json!({
            "lambda_weight": self.lambda_weight.map(|_| WEIGHT_CLASS),
            "activation_fn": self.activation_fn.full_name(),
            "mini_batch_size": self.mini_batch_size,
            "respect_input_order": self.respect_input_order,
        })
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        plan(NAME, examples)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        over_lists(NAME, batch, self.activation_fn, |scores, labels, gradient| {
            let order = match self.respect_input_order {
                true => (0..scores.len()).collect(),
                false => descending(labels),
            };
            let weights = match self.lambda_weight {
                Some(weight) => weight.normalized(order.len()),
                None => vec![1.0; order.len()],
            };
            let ranked: Vec<f64> = order.iter().map(|document| scores[*document]).collect();
            let normalizers = log_sums_from(&ranked);
            let mut sum = 0.0;
            for (i, weight) in weights.iter().enumerate() {
                sum -= weight * (ranked[i] - normalizers[i]);
                gradient[order[i]] -= weight;
                for (j, score) in ranked.iter().enumerate().skip(i) {
                    gradient[order[j]] += weight * (score - normalizers[i]).exp();
                }
            }
            Term { sum, count: 1 }
        })
    }
}

/// `log sum over j >= i of exp(x_j)` for each `i`.
fn log_sums_from(values: &[f64]) -> Vec<f64> {
    let mut sums = values.to_vec();
    for i in (0..sums.len().saturating_sub(1)).rev() {
        let (larger, smaller) = (sums[i].max(sums[i + 1]), sums[i].min(sums[i + 1]));
        sums[i] = larger + (smaller - larger).exp().ln_1p();
    }
    sums
}
