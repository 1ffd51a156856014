use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::score_matrix::{Compared, over_scores};
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::settings::{by_name, name_of, optional};
use crate::losses::table::NamedLoss;
use rankforge_encoder::{ModelKind, Outputs};
use rankforge_kernels::ops::Similarity;
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// `w_1 M_1^2 + w_2 max(0, M_2 - 1 / E)` of each text column, where `M_1` and `M_2` are the means
/// of the similarities, and of their squares, between the texts of different rows: embeddings that
/// are spread over the sphere have 0. Usually a term beside another loss.
///
/// Data: one or more text columns, and no label column.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
///
/// # Paper
/// Zhang et al. 2017, Learning Spread-out Local Feature Descriptors, arXiv:1708.06320.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GlobalOrthogonalRegularizationLoss {
    /// Cosine by default.
    pub similarity_fct: MatrixSimilarity,
    /// `w_1`; 1 by default. 0 and `None` leave the term out.
    #[serde(deserialize_with = "optional")]
    pub mean_weight: Option<f64>,
    /// `w_2`; 1 by default. 0 and `None` leave the term out.
    #[serde(deserialize_with = "optional")]
    pub second_moment_weight: Option<f64>,
    /// Whether the value is the mean over the columns, as by default, or the sum.
    pub aggregation: Aggregation,
}

/// The similarity of all pairs of embeddings, as a function of `sentence_transformers.util`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatrixSimilarity {
    /// Cosine, `cos_sim`.
    Cosine,
    /// Dot product, `dot_score`.
    Dot,
}

const SIMILARITIES: &[(&str, MatrixSimilarity)] = &[
    ("cos_sim", MatrixSimilarity::Cosine),
    ("dot_score", MatrixSimilarity::Dot),
    ("cosine", MatrixSimilarity::Cosine),
    ("dot", MatrixSimilarity::Dot),
];

impl<'de> Deserialize<'de> for MatrixSimilarity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<MatrixSimilarity, D::Error> {
        by_name(deserializer, "similarity", SIMILARITIES)
    }
}

/// How the values of text columns become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregation {
    /// The mean.
    Mean,
    /// The sum.
    Sum,
}

const AGGREGATIONS: &[(&str, Aggregation)] =
    &[("mean", Aggregation::Mean), ("sum", Aggregation::Sum)];

impl<'de> Deserialize<'de> for Aggregation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Aggregation, D::Error> {
        by_name(deserializer, "aggregation", AGGREGATIONS)
    }
}

impl Default for GlobalOrthogonalRegularizationLoss {
    fn default() -> GlobalOrthogonalRegularizationLoss {
        GlobalOrthogonalRegularizationLoss {
            similarity_fct: MatrixSimilarity::Cosine,
            mean_weight: Some(1.0),
            second_moment_weight: Some(1.0),
            aggregation: Aggregation::Mean,
        }
    }
}

const NAME: &str = "GlobalOrthogonalRegularizationLoss";

const CITATION: &str = "@misc{zhang2017learningspreadoutlocalfeature,
    title={Learning Spread-out Local Feature Descriptors},
    author={Xu Zhang and Felix X. Yu and Sanjiv Kumar and Shih-Fu Chang},
    year={2017},
    eprint={1708.06320},
    archivePrefix={arXiv},
    primaryClass={cs.CV},
    url={https://arxiv.org/abs/1708.06320},
}";

/// Names of the two terms.
const COMPONENTS: [&str; 2] = ["gor_mean", "gor_second_moment"];

impl NamedLoss for GlobalOrthogonalRegularizationLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for GlobalOrthogonalRegularizationLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "similarity_fct": name_of(&self.similarity_fct, SIMILARITIES),
            "mean_weight": self.mean_weight,
            "second_moment_weight": self.second_moment_weight,
            "aggregation": name_of(&self.aggregation, AGGREGATIONS),
        })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn component_names(&self) -> Vec<&'static str> {
        let terms = COMPONENTS.into_iter().zip(self.weights());
        terms.filter(|(_, weight)| *weight != 0.0).map(|(name, _)| name).collect()
    }

    fn check(&self) -> Result<(), Error> {
        let [mean, second_moment] = self.weights();
        columns::expect_finite(NAME, "mean_weight", mean)?;
        columns::expect_finite(NAME, "second_moment_weight", second_moment)?;
        if mean == 0.0 && second_moment == 0.0 {
            let expected = "another number than 0 here or for second_moment_weight";
            return Err(Error::argument(format!("{NAME}.mean_weight"), expected, 0));
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::no_labels(NAME, examples)?;
        let expected = "at least one text column";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n >= 1, expected)?;
        Ok(Plan { inputs, rows, targets: Targets::None })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let (rows, outputs) = (batch.rows, batch.outputs);
        assert!(
            rows > 0 && outputs.rows.is_multiple_of(rows),
            "{NAME}: outputs {} x {} for {rows} rows",
            outputs.rows,
            outputs.columns
        );
        let columns = outputs.rows / rows;
        let share = match self.aggregation {
            Aggregation::Mean => 1.0 / columns as f64,
            Aggregation::Sum => 1.0,
        };
        let weights = self.weights().map(|weight| weight * share);
        let mut terms = [0.0; 2];
        let mut d_outputs = Outputs::default();
        for column in 0..columns {
            let part = outputs.rows(column * rows..(column + 1) * rows);
            let part = LossBatch { outputs: &part, ..*batch };
            let (values, gradient) = self.of_column(&part, weights);
            terms = [terms[0] + values[0], terms[1] + values[1]];
            d_outputs.append(gradient);
        }
        let named = COMPONENTS.into_iter().zip(terms).zip(weights);
        let used = named.filter(|(_, weight)| *weight != 0.0);
        let components = used.map(|((name, value), _)| (name.to_owned(), value)).collect();
        LossOutput { components, ..LossOutput::new(terms.iter().sum(), d_outputs) }
    }
}

impl GlobalOrthogonalRegularizationLoss {
    /// `w_1` and `w_2`.
    fn weights(&self) -> [f64; 2] {
        [self.mean_weight.unwrap_or(0.0), self.second_moment_weight.unwrap_or(0.0)]
    }

    /// Both terms of a column times these weights, and the gradient of their sum.
    fn of_column(&self, batch: &LossBatch<'_>, weights: [f64; 2]) -> ([f64; 2], Outputs) {
        let Outputs { rows, columns: width, .. } = *batch.outputs;
        let similarity = match self.similarity_fct {
            MatrixSimilarity::Cosine => Similarity::Cosine,
            MatrixSimilarity::Dot => Similarity::Dot,
        };
        let compared = Compared { anchors: 0..rows, candidates: 0..rows, similarity };
        // A batch of one row has no pair, and both terms are 0.
        let pairs = (rows * (rows - 1)).max(1) as f64;
        let mut terms = [0.0; 2];
        let output = over_scores(batch, &compared, |scores| {
            let workers = batch.device.workers();
            let sums = workers.map_chunks_mut(scores.values_mut(), rows, |row, scores| {
                scores[row] = 0.0;
                let numbers = || scores.iter().map(|score| f64::from(*score));
                (numbers().sum::<f64>(), numbers().map(|score| score * score).sum::<f64>())
            });
            let mean = sums.iter().map(|(sum, _)| sum).sum::<f64>() / pairs;
            let second_moment = sums.iter().map(|(_, squares)| squares).sum::<f64>() / pairs;
            let excess = (second_moment - 1.0 / width as f64).max(0.0);
            terms = [weights[0] * mean * mean, weights[1] * excess];
            let of_mean = weights[0] * 2.0 * mean / pairs;
            let of_square = if excess > 0.0 { weights[1] * 2.0 / pairs } else { 0.0 };
            workers.map_chunks_mut(scores.values_mut(), rows, |row, scores| {
                for score in scores.iter_mut() {
                    *score = (of_mean + of_square * f64::from(*score)) as f32;
                }
                scores[row] = 0.0;
            });
            terms[0] + terms[1]
        });
        (terms, output.d_outputs)
    }
}
