use crate::error::Error;
use crate::losses::activation::{log_sigmoid, sigmoid};
use crate::losses::columns;
use crate::losses::dual_encoder::multiple_negatives_ranking::SimilarityFct;
use crate::losses::dual_encoder::pairwise::{PairFunction, over_pairs};
use crate::losses::dual_encoder::symmetric_ranking::MultipleNegativesSymmetricRankingLoss;
use crate::losses::examples::{Examples, Labels, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan};
use crate::losses::nesting::Truncated;
use crate::losses::table::NamedLoss;
use rankforge_encoder::{Input, ModelKind, Outputs};
use serde::Deserialize;
use serde_json::json;

const CITATION: &str = "@inproceedings{carlsson2021semantic,
    title={Semantic Re-tuning with Contrastive Tension},
    author={Fredrik Carlsson and Amaru Cuba Gyllensten and Evangelia Gogoulou and Erik \
Ylip{\\\"a}{\\\"a} Hellqvist and Magnus Sahlgren},
    booktitle={International Conference on Learning Representations},
    year={2021},
    url={https://openreview.net/forum?id=Ov_sMNau-PF}
}";

/// `sum over rows of -y log sigmoid(u v) - (1 - y) log sigmoid(-u v)` for the embedding `u` of the
/// first text of a row by a second copy of the model, and `v` of the second text by the model.
/// Both are trained; the model is what is saved. Training takes twice the memory and work.
///
/// Data: two text columns, and mostly no label column: then `y` is 1 where both texts have the same
/// tokens, and 0 elsewhere.
///
/// # Shapes
/// `B` rows give `2 B` single texts, column after column; outputs `2 B x E`.
///
/// # Paper
/// Carlsson et al. 2021, Semantic Re-tuning with Contrastive Tension, ICLR.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastiveTensionLoss {}

/// The mean of two in-batch losses, of the texts to themselves and back, each
/// `mean over i of -log softmax_j(scale * sim(u_i, v_j))[i]`, for the embeddings `u` by a second
/// copy of the model and `v` by the model of the same texts. Both are trained, and so is the scale,
/// as its logarithm; the model is what is saved. Training takes twice the memory and work.
///
/// Data: one text column, and no label column.
///
/// # Shapes
/// `B` rows give `2 B` single texts, all texts and all once more; outputs `2 B x E`.
///
/// # Paper
/// Carlsson et al. 2021, Semantic Re-tuning with Contrastive Tension, ICLR.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastiveTensionLossInBatchNegatives {
    /// Factor on the similarities before the first step; 20 by default.
    pub scale: f64,
    /// The similarity of two embeddings; cosine by default.
    pub similarity_fct: SimilarityFct,
}

impl Default for ContrastiveTensionLossInBatchNegatives {
    fn default() -> Self {
        ContrastiveTensionLossInBatchNegatives {
            scale: 20.0,
            similarity_fct: SimilarityFct::CosSim,
        }
    }
}

impl NamedLoss for ContrastiveTensionLoss {
    const NAME: &'static str = "ContrastiveTensionLoss";
    const CITATION: &'static str = CITATION;
}

impl NamedLoss for ContrastiveTensionLossInBatchNegatives {
    const NAME: &'static str = "ContrastiveTensionLossInBatchNegatives";
    const CITATION: &'static str = CITATION;
}

impl Loss for ContrastiveTensionLoss {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({})
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(Self::NAME, kind)
    }

    fn trains_copy(&self) -> bool {
        true
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        let expected = "exactly two text columns";
        let (inputs, rows) = columns::single_texts(Self::NAME, examples, |n| n == 2, expected)?;
        let targets = match examples.labels {
            Labels::None => Targets::SameTokens,
            Labels::Scalars(_) | Labels::Lists(_) => {
                let fits = |label: f32| (0.0..=1.0).contains(&label);
                let expected = "a label from 0 to 1";
                Targets::Scalars(columns::labels(Self::NAME, examples, fits, expected)?)
            }
        };
        Ok(Plan { inputs, rows, targets })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let labels = batch.scalars(Self::NAME, 2);
        over_pairs(batch, &[(0, 1)], PairFunction::Dot, |products| {
            let mut sum = 0.0;
            for (product, label) in products.iter_mut().zip(labels) {
                let (z, label) = (*product, f64::from(*label));
                sum -= label * log_sigmoid(z) + (1.0 - label) * log_sigmoid(-z);
                *product = sigmoid(z) - label;
            }
            sum
        })
    }
}

impl Loss for ContrastiveTensionLossInBatchNegatives {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({ "scale": self.scale, "similarity_fct": self.similarity_fct })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            let field = format!("{}.scale", Self::NAME);
            return Err(Error::argument(field, "a number above 0", self.scale));
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(Self::NAME, kind)
    }

    fn parameters(&self, _output_columns: usize, _seed: u64) -> Vec<LossParameter> {
        let values = vec![self.scale.ln() as f32];
        vec![LossParameter { name: "logit_scale", rows: 1, columns: 1, values }]
    }

    fn trains_copy(&self) -> bool {
        true
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::no_labels(Self::NAME, examples)?;
        let expected = "exactly one text column";
        let (texts, rows) = columns::single_texts(Self::NAME, examples, |n| n == 1, expected)?;
        let inputs: Vec<Input<'_>> = texts.iter().chain(&texts).copied().collect();
        Ok(Plan { inputs, rows, targets: Targets::None })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let rows = batch.expect_columns(Self::NAME, 2);
        let [logit_scale] = *batch.parameters else { panic!("{} without its scale", Self::NAME) };
        let scale = f64::from(logit_scale).exp();
        // Cosines are dot products of unit vectors. Then the products of embeddings and gradients
        // add up to the derivative with respect to the logarithm of the scale.
        let cosine = self.similarity_fct == SimilarityFct::CosSim;
        let units = cosine.then(|| Truncated::new(batch.outputs, batch.outputs.columns));
        let outputs = units.as_ref().map_or(batch.outputs, |units| &units.outputs);
        let ranking = MultipleNegativesSymmetricRankingLoss::new(scale, SimilarityFct::DotScore);
        let mut found = ranking.compute(&LossBatch { outputs, parameters: &[], ..*batch });
        let first = rows * outputs.columns;
        let terms = outputs.values[..first].iter().zip(&found.d_outputs.values[..first]);
        let d_scale: f64 = terms.map(|(x, d)| f64::from(*x) * f64::from(*d)).sum();
        found.d_parameters = vec![d_scale as f32];
        if let Some(units) = units {
            let d_units = found.d_outputs;
            let values = vec![0.0; d_units.values.len()];
            found.d_outputs = Outputs { values, ..*batch.outputs };
            units.add_gradient(&d_units, 1.0, &mut found.d_outputs);
        }
        found
    }
}
