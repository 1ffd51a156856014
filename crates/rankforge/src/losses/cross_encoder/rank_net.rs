use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::columns;
use crate::losses::cross_encoder::lambda::{self, LambdaLoss, ReductionLog};
use crate::losses::cross_encoder::list_wise::{chunk_size, list_wise, or_identity, plan};
use crate::losses::cross_encoder::weighting_scheme::WeightingScheme;
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::settings::optional;
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `mean over pairs of -log s(sigma (s_i - s_j))`, where `i` and `j` are documents of one query of
/// which `i` has the higher label: [`LambdaLoss`] without weights.
///
/// Data and shapes are those of [`LambdaLoss`].
///
/// # Paper
/// Burges et al. 2005, Learning to Rank using Gradient Descent, ICML.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankNetLoss {
    /// A pair counts where at least one of the two documents is among the first `k` of the model's
    /// ranking; `None` for all documents.
    #[serde(deserialize_with = "optional")]
    pub k: Option<usize>,
    /// Factor on the difference of two scores.
    pub sigma: f64,
    /// As in [`LambdaLoss`]; without weights it has no effect.
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

impl Default for RankNetLoss {
    fn default() -> RankNetLoss {
        let LambdaLoss { k, sigma, eps, reduction_log, activation_fn, mini_batch_size, .. } =
            LambdaLoss::default();
        RankNetLoss { k, sigma, eps, reduction_log, activation_fn, mini_batch_size }
    }
}

const NAME: &str = "RankNetLoss";

const CITATION: &str = "@inproceedings{burges2005learning,
    title={Learning to Rank using Gradient Descent},
    author={Burges, Chris and Shaked, Tal and Renshaw, Erin and Lazier, Ari and Deeds, Matt and \
Hamilton, Nicole and Hullender, Greg},
    booktitle={Proceedings of the 22nd international conference on Machine learning},
    pages={89--96},
    year={2005}
}";

impl NamedLoss for RankNetLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for RankNetLoss {
    list_wise!();

    fn config(&self) -> serde_json::Value {
        json!({
            "k": self.k,
            "sigma": self.sigma,
            "eps": self.eps,
            "reduction_log": self.reduction_log.name(),
            "activation_fn": self.activation_fn.full_name(),
            "mini_batch_size": self.mini_batch_size,
        })
    }

    fn check(&self) -> Result<(), Error> {
        lambda::check(NAME, self.k, self.sigma, self.eps)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        plan(NAME, examples)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let loss = LambdaLoss {
            weighting_scheme: WeightingScheme::NoWeighting,
            k: self.k,
            sigma: self.sigma,
            eps: self.eps,
            reduction_log: self.reduction_log,
            activation_fn: self.activation_fn,
            mini_batch_size: self.mini_batch_size,
        };
        loss.compute(batch)
    }
}
