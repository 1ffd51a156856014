use crate::error::Error;
use crate::losses::activation::{Activation, log_sigmoid, sigmoid};
use crate::losses::columns;
use crate::losses::cross_encoder::list_wise::{
    Term, chunk_size, descending, list_wise, or_identity, over_lists, plan,
};
use crate::losses::cross_encoder::weighting_scheme::{WeightingScheme, discount};
use crate::losses::examples::{Examples, LABEL_ROLE, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::settings::{by_name, optional};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// `mean over pairs of -w_ij log s(sigma (s_i - s_j))`, where `i` and `j` are documents of one
/// query of which `i` has the higher label, `w_ij` is the weight of the pair by the ranking of the
/// model ([`WeightingScheme`]), `s_i` an activated logit and `s` the logistic function. The mean is
/// over the pairs of all queries of a batch. The weights have no gradient.
///
/// Data: a query column, a column of lists of documents, and a column of lists of labels, one for
/// each document. The lists may differ in length. The gain of a label is `2^label - 1`; labels
/// below 0 have the gain 0.
///
/// # Shapes
/// `B` rows with `N` documents in all give `N` pairs, query after query; outputs `N x 1`.
///
/// # Paper
/// Wang et al. 2018, The LambdaLoss Framework for Ranking Metric Optimization, CIKM.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LambdaLoss {
    /// How pairs are weighted; `NDCGLoss2PPScheme` with `mu` 10 by default.
    pub weighting_scheme: WeightingScheme,
    /// A pair counts where at least one of the two documents is among the first `k` of the model's
    /// ranking, and the ideal DCG is that of the first `k`; `None` for all documents.
    #[serde(deserialize_with = "optional")]
    pub k: Option<usize>,
    /// Factor on the difference of two scores.
    pub sigma: f64,
    /// Lower bound of the ideal DCG.
    pub eps: f64,
    /// The logarithm of the loss.
    pub reduction_log: ReductionLog,
    /// Applied to the logits before the loss; `Identity` by default.
    #[serde(deserialize_with = "or_identity")]
    pub activation_fn: Activation,
    /// Maximum number of pairs in one forward and backward pass of gradient caching; `None` for the
    /// whole batch.
    #[serde(deserialize_with = "chunk_size")]
    pub mini_batch_size: Option<usize>,
}

/// The logarithm of `LambdaLoss` and `RankNetLoss`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReductionLog {
    /// Base e.
    Natural,
    /// Base 2.
    #[default]
    Binary,
}

const LOGS: [(&str, ReductionLog); 2] =
    [("natural", ReductionLog::Natural), ("binary", ReductionLog::Binary)];

impl<'de> Deserialize<'de> for ReductionLog {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<ReductionLog, D::Error> {
        by_name(deserializer, "logarithm", &LOGS)
    }
}

impl ReductionLog {
    /// Its name as a setting.
    pub fn name(self) -> &'static str {
        crate::losses::settings::name_of(&self, &LOGS)
    }

    /// Natural logarithms are multiplied by it.
    fn factor(self) -> f64 {
        match self {
            ReductionLog::Natural => 1.0,
            ReductionLog::Binary => std::f64::consts::LN_2.recip(),
        }
    }
}

impl Default for LambdaLoss {
    fn default() -> LambdaLoss {
        LambdaLoss {
            weighting_scheme: WeightingScheme::default(),
            k: None,
            sigma: 1.0,
            eps: 1e-10,
            reduction_log: ReductionLog::Binary,
            activation_fn: Activation::Identity,
            mini_batch_size: None,
        }
    }
}

const NAME: &str = "LambdaLoss";

const CITATION: &str = "@inproceedings{wang2018lambdaloss,
    title={The LambdaLoss Framework for Ranking Metric Optimization},
    author={Wang, Xuanhui and Li, Cheng and Golbandi, Nadav and Bendersky, Michael and Najork, \
Marc},
    booktitle={Proceedings of the 27th ACM international conference on information and knowledge \
management},
    pages={1313--1322},
    year={2018}
}";

/// Labels whose gain is finite in f64, with room for sums.
const LARGEST_LABEL: f32 = 1000.0;

/// Bound of the difference of two scores.
const LARGEST_DIFFERENCE: f64 = 1e8;

impl NamedLoss for LambdaLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for LambdaLoss {
    list_wise!();

    fn config(&self) -> serde_json::Value {
        json!({
            "weighting_scheme": self.weighting_scheme.full_name(),
            "k": self.k,
            "sigma": self.sigma,
            "eps": self.eps,
            "reduction_log": self.reduction_log.name(),
            "activation_fn": self.activation_fn.full_name(),
            "mini_batch_size": self.mini_batch_size,
        })
    }

    fn check(&self) -> Result<(), Error> {
        check(NAME, self.k, self.sigma, self.eps)?;
        match self.weighting_scheme {
            WeightingScheme::NDCGLoss2PP { mu } => {
                columns::expect_finite(NAME, "weighting_scheme.mu", mu)
            }
            _ => Ok(()),
        }
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let plan = plan(NAME, examples)?;
        let Targets::Lists(lists) = &plan.targets else { unreachable!("the labels are lists") };
        for (row, list) in lists.iter().enumerate() {
            if let Some(label) = list.iter().find(|label| **label > LARGEST_LABEL) {
                let expected = format!("labels up to {LARGEST_LABEL}, as a gain is 2^label - 1");
                return Err(Error::cell(NAME, row, LABEL_ROLE, expected, label));
            }
        }
        Ok(plan)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let each = |scores: &[f64], labels: &[f64], gradient: &mut [f64]| {
            self.add_query(scores, labels, gradient)
        };
        over_lists(NAME, batch, self.activation_fn, each)
    }
}

impl LambdaLoss {
    /// The loss of the pairs of one query, and their number.
    fn add_query(&self, scores: &[f64], labels: &[f64], gradient: &mut [f64]) -> Term {
        let order = descending(scores);
        let k = self.k.unwrap_or(order.len());
        let gains = self.gains(labels, k);
        let every_pair = self.weighting_scheme == WeightingScheme::NDCGLoss1;
        let mut term = Term { sum: 0.0, count: 0 };
        for (i, &first) in order.iter().enumerate() {
            for (j, &second) in order.iter().enumerate() {
                let counts = every_pair || labels[first] > labels[second];
                if !counts || (i >= k && j >= k) {
                    continue;
                }
                term.count += 1;
                let weight = self.weighting_scheme.weight((i, j), gains[first], gains[second]);
                let weight = weight * self.reduction_log.factor();
                let difference = scores[first] - scores[second];
                let bounded = difference.clamp(-LARGEST_DIFFERENCE, LARGEST_DIFFERENCE);
                term.sum -= weight * log_sigmoid(self.sigma * bounded);
                if bounded == difference {
                    let slope = weight * self.sigma * sigmoid(-self.sigma * difference);
                    gradient[first] -= slope;
                    gradient[second] += slope;
                }
            }
        }
        term
    }

    /// The gain of each document, divided by the DCG of the ideal ranking up to `k`.
    fn gains(&self, labels: &[f64], k: usize) -> Vec<f64> {
        let gain = |label: f64| label.max(0.0).exp2() - 1.0;
        let ideal = descending(labels).into_iter().take(k).enumerate();
        let ideal: f64 = ideal.map(|(i, document)| gain(labels[document]) / discount(i)).sum();
        let ideal = ideal.max(self.eps);
        labels.iter().map(|label| gain(*label) / ideal).collect()
    }
}

/// Checks the settings that `RankNetLoss` has too.
///
/// # Errors
/// The first invalid one.
pub(super) fn check(loss: &str, k: Option<usize>, sigma: f64, eps: f64) -> Result<(), Error> {
    if k == Some(0) {
        let expected = "at least 1, or none for all documents";
        return Err(Error::argument(format!("{loss}.k"), expected, 0));
    }
    columns::expect_finite(loss, "sigma", sigma)?;
    match eps.is_finite() && eps > 0.0 {
        true => Ok(()),
        false => Err(Error::argument(format!("{loss}.eps"), "a number above 0", eps)),
    }
}
