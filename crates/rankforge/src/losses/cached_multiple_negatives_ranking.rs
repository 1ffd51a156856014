use super::multiple_negatives_ranking::{self, MultipleNegativesRankingLoss};
use super::{Activation, Draw, Examples, Labels, Loss, LossOutput, Plan, columns, named};
use crate::Error;
use rankforge_encoder::Outputs;
use serde::Deserialize;

/// [`MultipleNegativesRankingLoss`] with gradient caching: the same numbers, memory for
/// `mini_batch_size` pairs. The caching itself is the trainer's and serves every loss that names a size.
///
/// # Shapes
/// As [`MultipleNegativesRankingLoss`].
///
/// # Paper
/// Gao et al. 2021, Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CachedMultipleNegativesRankingLoss {
    /// As [`MultipleNegativesRankingLoss::num_negatives`].
    #[serde(deserialize_with = "named::optional")]
    pub num_negatives: Option<usize>,
    /// As [`MultipleNegativesRankingLoss::scale`].
    pub scale: f64,
    /// As [`MultipleNegativesRankingLoss::activation_fn`].
    #[serde(deserialize_with = "named::optional")]
    pub activation_fn: Option<Activation>,
    /// Pairs in a forward and backward pass.
    pub mini_batch_size: usize,
}

impl Default for CachedMultipleNegativesRankingLoss {
    fn default() -> CachedMultipleNegativesRankingLoss {
        let MultipleNegativesRankingLoss { num_negatives, scale, activation_fn } =
            MultipleNegativesRankingLoss::default();
        let mini_batch_size = 32;
        CachedMultipleNegativesRankingLoss { num_negatives, scale, activation_fn, mini_batch_size }
    }
}

const NAME: &str = "CachedMultipleNegativesRankingLoss";

impl CachedMultipleNegativesRankingLoss {
    /// Checks the settings.
    ///
    /// # Errors
    /// When `num_negatives` or `mini_batch_size` is 0, or `scale` is not finite.
    pub fn check(&self) -> Result<(), Error> {
        if self.mini_batch_size == 0 {
            return Err(Error::Argument {
                field: format!("{NAME}.mini_batch_size"),
                expected: "at least 1".to_owned(),
                got: "0".to_owned(),
            });
        }
        multiple_negatives_ranking::check(NAME, &self.plain())
    }

    fn plain(&self) -> MultipleNegativesRankingLoss {
        MultipleNegativesRankingLoss {
            num_negatives: self.num_negatives,
            scale: self.scale,
            activation_fn: self.activation_fn,
        }
    }
}

impl Loss for CachedMultipleNegativesRankingLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        let mut config = self.plain().config();
        config["mini_batch_size"] = self.mini_batch_size.into();
        config
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn mini_batch_size(&self) -> Option<usize> {
        Some(self.mini_batch_size)
    }

    fn check_model(&self, output_columns: usize) -> Result<(), Error> {
        self.check()?;
        columns::one_output(NAME, output_columns)
    }

    fn plan<'a>(&self, examples: &'a Examples, draw: Draw) -> Result<Plan<'a>, Error> {
        multiple_negatives_ranking::plan(NAME, self.num_negatives, examples, draw)
    }

    fn compute(&self, outputs: &Outputs, rows: usize, labels: &Labels) -> LossOutput {
        self.plain().compute(outputs, rows, labels)
    }
}

const CITATION: &str = "@misc{gao2021scaling,
    title={Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup},
    author={Luyu Gao and Yunyi Zhang and Jiawei Han and Jamie Callan},
    year={2021},
    eprint={2101.06983},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}";
