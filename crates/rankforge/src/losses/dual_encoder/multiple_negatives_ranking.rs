use crate::error::Error;
use crate::losses::cached::Cacheable;
use crate::losses::columns;
use crate::losses::dual_encoder::contrast::{Comparison, Contrast, Factors, Softmax};
use crate::losses::examples::Examples;
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::nesting::Nesting;
use crate::losses::settings::optional;
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// The similarity of two embeddings, named as the function of sentence-transformers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SimilarityFct {
    /// The cosine of the angle between them.
    #[default]
    CosSim,
    /// Their dot product; usually with a scale of 1.
    DotScore,
}

/// What the anchor of a row is compared with, or its positive in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The anchor with the positives and negatives of all rows; always there.
    QueryToDoc,
    /// The anchor with the anchors of other rows.
    QueryToQuery,
    /// The positive with the anchors of all rows.
    DocToQuery,
    /// The positive with the positives and negatives of other rows.
    DocToDoc,
}

/// Which scores share a softmax.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PartitionMode {
    /// Those of all directions.
    #[default]
    Joint,
    /// Those of one direction; the loss is the mean over the directions.
    PerDirection,
}

/// The negatives whose logits grow with their own similarity to the anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HardnessMode {
    /// The texts of other rows (Lan et al. 2025, arXiv:2503.04812, equation 5).
    InBatchNegatives,
    /// The negatives of the own row (Schechter Vera et al. 2025, arXiv:2509.20354).
    HardNegatives,
    /// Both.
    AllNegatives,
}

/// `mean over i of -log softmax_j(scale * sim(a_i, c_j))[i]`, where `a_i` are the anchors. The
/// candidates `c_j` are the positives of all rows, followed by the texts of each negative column.
/// [`Direction`] says what else is compared.
///
/// Data: an anchor column, a positive column, any number of negative columns, and no label column.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
///
/// # Paper
/// van den Oord et al. 2018, Representation Learning with Contrastive Predictive Coding,
/// arXiv:1807.03748. With all directions: Li et al. 2023, Towards General Text Embeddings with
/// Multi-stage Contrastive Learning, arXiv:2308.03281. With query to doc and back, one softmax
/// each: Günther et al. 2024, Jina Embeddings 2, arXiv:2310.19923.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MultipleNegativesRankingLoss {
    /// Factor on the similarities, the inverse of the temperature; 20 by default.
    pub scale: f64,
    /// The similarity of two embeddings; cosine by default.
    pub similarity_fct: SimilarityFct,
    /// What is compared; anchors with positives and negatives by default.
    pub directions: Vec<Direction>,
    /// Which scores share a softmax; all by default.
    pub partition_mode: PartitionMode,
    /// The negatives that get a penalty, if any.
    #[serde(deserialize_with = "optional")]
    pub hardness_mode: Option<HardnessMode>,
    /// The penalty: this times the similarity, without a gradient of its own, is added to the logit
    /// of a negative.
    pub hardness_strength: f64,
}

impl Default for MultipleNegativesRankingLoss {
    fn default() -> MultipleNegativesRankingLoss {
        MultipleNegativesRankingLoss {
            scale: 20.0,
            similarity_fct: SimilarityFct::CosSim,
            directions: vec![Direction::QueryToDoc],
            partition_mode: PartitionMode::Joint,
            hardness_mode: None,
            hardness_strength: 0.0,
        }
    }
}

const NAME: &str = "MultipleNegativesRankingLoss";

const CITATION: &str = "@misc{oord2019representation,
    title={Representation Learning with Contrastive Predictive Coding},
    author={Aaron van den Oord and Yazhe Li and Oriol Vinyals},
    year={2019},
    eprint={1807.03748},
    archivePrefix={arXiv},
    primaryClass={cs.LG}
}";

const ALL_DIRECTIONS: &str = "@misc{li2023towards,
    title={Towards General Text Embeddings with Multi-stage Contrastive Learning},
    author={Zehan Li and Xin Zhang and Yanzhao Zhang and Dingkun Long and Pengjun Xie and \
        Meishan Zhang},
    year={2023},
    eprint={2308.03281},
    archivePrefix={arXiv},
    primaryClass={cs.CL}
}";

pub(super) const BOTH_WAYS: &str = "@misc{gunther2024jina,
    title={Jina Embeddings 2: 8192-Token General-Purpose Text Embeddings for Long Documents},
    author={Michael G{\\\"u}nther and Jackmin Ong and Isabelle Mohr and Alaeddine Abdessalem and \
        Tanguy Abel and Mohammad Kalim Akram and Susana Guzman and Georgios Mastrapas and \
        Saba Sturua and Bo Wang and Maximilian Werk and Nan Wang and Han Xiao},
    year={2024},
    eprint={2310.19923},
    archivePrefix={arXiv},
    primaryClass={cs.CL}
}";

impl NamedLoss for MultipleNegativesRankingLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Cacheable for MultipleNegativesRankingLoss {
    const CACHED_NAME: &'static str = "CachedMultipleNegativesRankingLoss";
}

impl Loss for MultipleNegativesRankingLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({
            "scale": self.scale,
            "similarity_fct": self.similarity_fct,
            "directions": self.directions,
            "partition_mode": self.partition_mode,
            "hardness_mode": self.hardness_mode,
            "hardness_strength": self.hardness_strength,
        })
    }

    fn citation(&self) -> &'static str {
        let has = |direction| self.directions.contains(&direction);
        let [queries, back, docs] =
            [Direction::QueryToQuery, Direction::DocToQuery, Direction::DocToDoc].map(has);
        match self.partition_mode {
            PartitionMode::Joint if queries && back && docs => ALL_DIRECTIONS,
            PartitionMode::PerDirection if back => BOTH_WAYS,
            _ => CITATION,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let field = |name: &str| format!("{NAME}.{name}");
        if !(self.scale > 0.0 && self.scale.is_finite()) {
            return Err(Error::argument(field("scale"), "a number above 0", self.scale));
        }
        if !self.directions.contains(&Direction::QueryToDoc) {
            let expected = "query_to_doc among them, as it has the positives";
            let got = json!(self.directions);
            return Err(Error::argument(field("directions"), expected, got));
        }
        let alone = [Direction::QueryToQuery, Direction::DocToDoc];
        if self.partition_mode == PartitionMode::PerDirection
            && self.directions.iter().any(|direction| alone.contains(direction))
        {
            let expected = "query_to_doc and doc_to_query only with partition_mode per_direction, \
                            as the others have no positive";
            let got = json!(self.directions);
            return Err(Error::argument(field("directions"), expected, got));
        }
        if !(self.hardness_strength >= 0.0 && self.hardness_strength.is_finite()) {
            let got = self.hardness_strength;
            return Err(Error::argument(field("hardness_strength"), "a number of at least 0", got));
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn warnings(&self, _output_columns: usize) -> Vec<String> {
        if self.hardness_mode.is_some() == (self.hardness_strength > 0.0) {
            return Vec::new();
        }
        let expected = "has no effect without the other";
        vec![format!("{NAME}: one of hardness_mode and hardness_strength {expected}")]
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        columns::ranked_texts(NAME, examples)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        self.contrast(batch).compute(batch)
    }

    fn compute_nested(&self, batch: &LossBatch<'_>, nestings: &[Nesting]) -> LossOutput {
        // Embeddings that are cut are of unit length, so their dot products are cosines too.
        Contrast { cosine: true, ..self.contrast(batch) }.compute_nested(batch, nestings)
    }
}

impl MultipleNegativesRankingLoss {
    fn contrast(&self, batch: &LossBatch<'_>) -> Contrast {
        let (rows, texts, columns) = (batch.rows, batch.outputs.rows, batch.outputs.columns);
        assert!(
            rows > 0 && texts.is_multiple_of(rows) && texts >= 2 * rows,
            "{NAME}: outputs {texts} x {columns} for {rows} rows"
        );
        let plain = Factors::all(self.scale);
        let without_first = Factors { first: None, ..plain };
        let without_own = Factors { further: None, ..without_first };
        let (queries, positives, docs) = (0..rows, rows..2 * rows, rows..texts);
        let order = [
            (Direction::QueryToDoc, &queries, &docs, self.penalised()),
            (Direction::QueryToQuery, &queries, &queries, without_first),
            (Direction::DocToQuery, &positives, &queries, plain),
            (Direction::DocToDoc, &positives, &docs, without_own),
        ];
        let used = order.into_iter().filter(|(way, ..)| self.directions.contains(way));
        let comparisons: Vec<Comparison> = used
            .map(|(_, rows, columns, factors)| Comparison {
                rows: rows.clone(),
                columns: columns.clone(),
                factors,
            })
            .collect();
        let softmaxes = match self.partition_mode {
            PartitionMode::Joint => vec![Softmax { weight: 1.0, comparisons }],
            PartitionMode::PerDirection => {
                let weight = 1.0 / comparisons.len() as f64;
                let each = comparisons.into_iter();
                each.map(|it| Softmax { weight, comparisons: vec![it] }).collect()
            }
        };
        let cosine = self.similarity_fct == SimilarityFct::CosSim;
        Contrast { slope: self.scale, cosine, softmaxes, guide: None }
    }

    /// The factors of logits of an anchor with positives and negatives.
    fn penalised(&self) -> Factors {
        let plain = Factors::all(self.scale);
        let hard = self.scale + self.hardness_strength;
        match self.hardness_mode {
            None => plain,
            Some(HardnessMode::InBatchNegatives) => Factors { others: hard, ..plain },
            Some(HardnessMode::HardNegatives) => Factors { further: Some(hard), ..plain },
            Some(HardnessMode::AllNegatives) => {
                Factors { further: Some(hard), others: hard, ..plain }
            }
        }
    }
}
