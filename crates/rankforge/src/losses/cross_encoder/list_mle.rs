use crate::error::Error;
use crate::losses::activation::Activation;
use crate::losses::columns;
use crate::losses::cross_encoder::list_wise::{chunk_size, list_wise, or_identity, plan};
use crate::losses::cross_encoder::position_aware_list_mle::PListMLELoss;
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `mean over queries of -sum_i (s_i - log sum over j >= i of exp(s_j))`: the negative logarithm of
/// the probability of a ranking of the documents by the activated logits `s` (Plackett-Luce).
///
/// Data: a query column, a column of lists of documents, and a column of lists of labels, one for
/// each document. The lists may differ in length. The ranking is the order of the documents, best
/// first, or that of their labels (`respect_input_order`).
///
/// # Shapes
/// `B` rows with `N` documents in all give `N` pairs, query after query; outputs `N x 1`.
///
/// # Paper
/// Xia et al. 2008, Listwise Approach to Learning to Rank - Theory and Algorithm, ICML.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListMLELoss {
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

impl Default for ListMLELoss {
    fn default() -> ListMLELoss {
        ListMLELoss {
            activation_fn: Activation::Identity,
            mini_batch_size: None,
            respect_input_order: true,
        }
    }
}

const NAME: &str = "ListMLELoss";

const CITATION: &str = "@inproceedings{10.1145/1390156.1390306,
    title = {Listwise Approach to Learning to Rank - Theory and Algorithm},
    author = {Xia, Fen and Liu, Tie-Yan and Wang, Jue and Zhang, Wensheng and Li, Hang},
    booktitle = {Proceedings of the 25th International Conference on Machine Learning},
    pages = {1192-1199},
    year = {2008},
    url = {https://doi.org/10.1145/1390156.1390306},
}";

impl NamedLoss for ListMLELoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for ListMLELoss {
    list_wise!();

    fn config(&self) -> serde_json::Value {
        json!({
            "activation_fn": self.activation_fn.full_name(),
            "mini_batch_size": self.mini_batch_size,
            "respect_input_order": self.respect_input_order,
        })
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        plan(NAME, examples)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let loss = PListMLELoss {
            lambda_weight: None,
            activation_fn: self.activation_fn,
            mini_batch_size: self.mini_batch_size,
            respect_input_order: self.respect_input_order,
        };
        loss.compute(batch)
    }
}
