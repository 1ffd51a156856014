use crate::error::Error;
use crate::losses::cached::Cacheable;
use crate::losses::dual_encoder::multiple_negatives_ranking::{
    BOTH_WAYS, Direction, MultipleNegativesRankingLoss, PartitionMode, SimilarityFct,
};
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::nesting::Nesting;
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;

/// [`MultipleNegativesRankingLoss`] from queries to documents and back, with one softmax for each:
/// a name that sentence-transformers keeps for older programs.
///
/// Data and shapes are those of [`MultipleNegativesRankingLoss`].
///
/// # Paper
/// Günther et al. 2024, Jina Embeddings 2, arXiv:2310.19923.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "Fields")]
pub struct MultipleNegativesSymmetricRankingLoss(MultipleNegativesRankingLoss);

/// The settings of the loss.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Fields {
    scale: f64,
    similarity_fct: SimilarityFct,
}

impl MultipleNegativesSymmetricRankingLoss {
    /// The loss with a factor on the similarities, 20 by default, and a similarity.
    pub fn new(scale: f64, similarity_fct: SimilarityFct) -> Self {
        MultipleNegativesSymmetricRankingLoss(MultipleNegativesRankingLoss {
            scale,
            similarity_fct,
            directions: vec![Direction::QueryToDoc, Direction::DocToQuery],
            partition_mode: PartitionMode::PerDirection,
            ..MultipleNegativesRankingLoss::default()
        })
    }
}

impl Default for Fields {
    fn default() -> Fields {
        let MultipleNegativesRankingLoss { scale, similarity_fct, .. } = Default::default();
        Fields { scale, similarity_fct }
    }
}

impl From<Fields> for MultipleNegativesSymmetricRankingLoss {
    fn from(fields: Fields) -> Self {
        Self::new(fields.scale, fields.similarity_fct)
    }
}

impl Default for MultipleNegativesSymmetricRankingLoss {
    fn default() -> Self {
        Fields::default().into()
    }
}

impl NamedLoss for MultipleNegativesSymmetricRankingLoss {
    const NAME: &'static str = "MultipleNegativesSymmetricRankingLoss";
    const CITATION: &'static str = BOTH_WAYS;
}

impl Cacheable for MultipleNegativesSymmetricRankingLoss {
    const CACHED_NAME: &'static str = "CachedMultipleNegativesSymmetricRankingLoss";
}

impl Loss for MultipleNegativesSymmetricRankingLoss {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn config(&self) -> serde_json::Value {
        self.0.config()
    }

    fn citation(&self) -> &'static str {
        Self::CITATION
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check().map_err(|error| error.renamed(self.0.name(), Self::NAME))
    }

    fn check_model(&self, kind: ModelKind, output_columns: usize) -> Result<(), Error> {
        let checked = self.0.check_model(kind, output_columns);
        checked.map_err(|error| error.renamed(self.0.name(), Self::NAME))
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        let plan = self.0.plan(examples, draw);
        plan.map_err(|error| error.renamed(self.0.name(), Self::NAME))
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.0.compute(batch)
    }

    fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
        self.0.compute_nested(batch, nestings)
    }
}
