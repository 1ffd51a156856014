use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::linear_layer::LinearLayer;
use crate::losses::dual_encoder::pairwise::PairFunction;
use crate::losses::examples::{Examples, LABEL_ROLE, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, LossParameter, Plan};
use crate::losses::settings::{by_name, name_of, optional};
use crate::losses::table::NamedLoss;
use rankforge_encoder::{ModelKind, Outputs};
use serde::{Deserialize, Deserializer};
use serde_json::json;

/// The distance of the embeddings of the student from those of a teacher: the mean over rows and
/// text columns.
///
/// Data: one or more text columns and a label, a list of numbers: the embedding by the teacher that
/// the texts of all columns shall have, or those of all columns, one after the other.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`, labels
/// of `D` or `C D` numbers, where `D` is `projection_dim` or `E`.
///
/// # Paper
/// Kim et al. 2023, EmbedDistill: A Geometric Knowledge Distillation for Information Retrieval,
/// arXiv:2301.12005.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmbedDistillLoss {
    /// Cosine by default.
    pub distance_metric: EmbeddingDistance,
    /// Number of dimensions of the teacher: a linear layer, which is trained with the model and is
    /// no part of it, maps the embeddings to them. `None`, the default, is no layer.
    #[serde(deserialize_with = "optional")]
    pub projection_dim: Option<usize>,
}

/// The distance of an embedding from that of a teacher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingDistance {
    /// The mean of the squares of differences, `mse`.
    Mse,
    /// The square root of the sum of squares, `l2`.
    L2,
    /// `1 - cosine`, `cosine`.
    Cosine,
}

const DISTANCES: &[(&str, EmbeddingDistance)] = &[
    ("mse", EmbeddingDistance::Mse),
    ("l2", EmbeddingDistance::L2),
    ("cosine", EmbeddingDistance::Cosine),
];

impl<'de> Deserialize<'de> for EmbeddingDistance {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<EmbeddingDistance, D::Error> {
        by_name(deserializer, "distance", DISTANCES)
    }
}

impl Default for EmbedDistillLoss {
    fn default() -> EmbedDistillLoss {
        EmbedDistillLoss { distance_metric: EmbeddingDistance::Cosine, projection_dim: None }
    }
}

/// The mean squared error of the embeddings of the student, with those of a teacher as labels:
/// [`EmbedDistillLoss`] with the distance `mse`.
///
/// Data and shapes are those of [`EmbedDistillLoss`].
///
/// # Paper
/// Reimers and Gurevych 2020, Making Monolingual Sentence Embeddings Multilingual using Knowledge
/// Distillation, arXiv:2004.09813.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MSELoss {
    /// As in [`EmbedDistillLoss`].
    #[serde(deserialize_with = "optional")]
    pub projection_dim: Option<usize>,
}

const CITATION: &str = "@article{kim2023embeddistill,
    title={EmbedDistill: A Geometric Knowledge Distillation for Information Retrieval},
    author={Kim, Seungyeon and Rawat, Ankit Singh and Zaheer, Manzil and Jayasumana, Sadeep and \
Sadhanala, Veeranjaneyulu and Jitkrittum, Wittawat and Menon, Aditya Krishna and Fergus, Rob and \
Kumar, Sanjiv},
    year={2023},
    eprint={2301.12005},
    archivePrefix={arXiv},
    primaryClass={cs.IR}
}";

const MSE_CITATION: &str = "@inproceedings{reimers-2020-multilingual-sentence-bert,
    title = \"Making Monolingual Sentence Embeddings Multilingual using Knowledge Distillation\",
    author = \"Reimers, Nils and Gurevych, Iryna\",
    booktitle = \"Proceedings of the 2020 Conference on Empirical Methods in Natural Language \
Processing\",
    month = \"11\",
    year = \"2020\",
    publisher = \"Association for Computational Linguistics\",
    url = \"https://arxiv.org/abs/2004.09813\",
}";

impl NamedLoss for EmbedDistillLoss {
    const NAME: &'static str = "EmbedDistillLoss";
    const CITATION: &'static str = CITATION;
}

impl NamedLoss for MSELoss {
    const NAME: &'static str = "MSELoss";
    const CITATION: &'static str = MSE_CITATION;
}

impl Loss for EmbedDistillLoss {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn config(&self) -> serde_json::Value {
        let distance_metric = name_of(&self.distance_metric, DISTANCES);
        json!({ "distance_metric": distance_metric, "projection_dim": self.projection_dim })
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        check_projection(Self::NAME, self.projection_dim)
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(Self::NAME, kind)
    }

    fn parameters(&self, output_columns: usize, seed: u64) -> Vec<LossParameter> {
        projection_parameters(self.projection_dim, output_columns, seed)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        plan(Self::NAME, examples)
    }

    fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
        check_plan(Self::NAME, plan, self.projection_dim, output_columns)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        distill(Self::NAME, batch, self.distance_metric, self.projection_dim)
    }
}

impl Loss for MSELoss {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn config(&self) -> serde_json::Value {
        json!({ "projection_dim": self.projection_dim })
    }

    fn citation(&self) -> &'static str {
        MSE_CITATION
    }

    fn check(&self) -> Result<(), Error> {
        check_projection(Self::NAME, self.projection_dim)
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(Self::NAME, kind)
    }

    fn parameters(&self, output_columns: usize, seed: u64) -> Vec<LossParameter> {
        projection_parameters(self.projection_dim, output_columns, seed)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        plan(Self::NAME, examples)
    }

    fn check_plan(&self, plan: &Plan<'_>, output_columns: usize) -> Result<(), Error> {
        check_plan(Self::NAME, plan, self.projection_dim, output_columns)
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        distill(Self::NAME, batch, EmbeddingDistance::Mse, self.projection_dim)
    }
}

fn plan<'a>(name: &str, examples: &'a Examples) -> Result<Plan<'a>, Error> {
    let expected = "at least one text column and a label column";
    let (inputs, rows) = columns::single_texts(name, examples, |n| n >= 1, expected)?;
    let expected = "the embedding by the teacher, a list of numbers";
    let labels = columns::label_lists(name, examples, |length| length >= 1, expected)?;
    Ok(Plan { inputs, rows, targets: Targets::Lists(labels) })
}

/// Checks that a projection has dimensions.
fn check_projection(name: &str, projection_dim: Option<usize>) -> Result<(), Error> {
    match projection_dim {
        Some(0) => Err(Error::argument(format!("{name}.projection_dim"), "at least 1", 0)),
        _ => Ok(()),
    }
}

/// The layer from embeddings of `inputs` dimensions to those of the teacher.
fn projection(projection_dim: Option<usize>, inputs: usize) -> Option<LinearLayer> {
    projection_dim.map(|outputs| LinearLayer { inputs, outputs })
}

/// The parameters of that layer, if there is one.
fn projection_parameters(
    projection_dim: Option<usize>,
    inputs: usize,
    seed: u64,
) -> Vec<LossParameter> {
    let names = ["projection.weight", "projection.bias"];
    let layer = projection(projection_dim, inputs);
    layer.map_or(Vec::new(), |layer| layer.parameters(names, seed))
}

/// Checks that the embeddings of the teacher have as many numbers as those of the student, which
/// are projected, or have `output_columns`.
fn check_plan(
    name: &str,
    plan: &Plan<'_>,
    projection_dim: Option<usize>,
    output_columns: usize,
) -> Result<(), Error> {
    let Targets::Lists(labels) = &plan.targets else { panic!("{name} without embeddings") };
    let width = projection_dim.unwrap_or(output_columns);
    let all = plan.inputs.len() / plan.rows * width;
    let fits = |label: &Vec<f32>| label.len() == width || label.len() == all;
    let Some(row) = labels.iter().position(|label| !fits(label)) else { return Ok(()) };
    let why = match projection_dim {
        None => format!("as the model has {width} dimensions"),
        Some(_) => format!("as projection_dim is {width}"),
    };
    let mut expected = format!("a list of {width} numbers, {why}");
    if all > width {
        expected.push_str(&format!(", or of {all}, {width} for each text column"));
    }
    let mut got = format!("a list of {}", labels[row].len());
    if projection_dim.is_none() {
        got.push_str(" (projection_dim maps the embeddings to another number of dimensions)");
    }
    Err(Error::cell(name, row, LABEL_ROLE, expected, got))
}

/// The mean distance of the embeddings of students from the teacher's, and its gradient.
fn distances(
    batch: &LossBatch<'_>,
    students: &Outputs,
    labels: &[Vec<f32>],
    metric: EmbeddingDistance,
) -> (f64, Outputs) {
    let Outputs { rows: all, columns: width, .. } = *students;
    let share = 1.0 / all as f64;
    let mut gradient = vec![0.0; all * width];
    let of_texts =
        batch.device.workers().map_chunks_mut(&mut gradient, width, |index, gradient| {
            let (column, label) = (index / batch.rows, &labels[index % batch.rows]);
            // One embedding for all columns, or one for each.
            let start = if label.len() == width { 0 } else { column * width };
            let teacher = &label[start..start + width];
            let mut slopes = vec![0.0; width];
            let distance = metric.apply(students.row(index), teacher, share, &mut slopes);
            gradient.iter_mut().zip(slopes).for_each(|(to, from)| *to = from as f32);
            distance
        });
    let value = of_texts.iter().sum::<f64>() * share;
    (value, Outputs { rows: all, columns: width, values: gradient })
}

/// The loss of both.
fn distill(
    name: &str,
    batch: &LossBatch<'_>,
    metric: EmbeddingDistance,
    projection_dim: Option<usize>,
) -> LossOutput {
    let Targets::Lists(labels) = batch.targets else { panic!("{name} without embeddings") };
    let LossBatch { outputs, device, parameters, .. } = *batch;
    let Some(layer) = projection(projection_dim, outputs.columns) else {
        let (value, d_outputs) = distances(batch, outputs, labels, metric);
        return LossOutput::new(value, d_outputs);
    };
    let projected = layer.forward(device, parameters, outputs);
    let (value, d_projected) = distances(batch, &projected, labels, metric);
    let (d_outputs, d_parameters) = layer.backward(device, parameters, outputs, &d_projected);
    LossOutput { d_parameters, ..LossOutput::new(value, d_outputs) }
}

impl EmbeddingDistance {
    /// The distance of `student` from `teacher`. Adds `share` times its gradient with respect to
    /// `student` to `gradient`.
    fn apply(self, student: &[f32], teacher: &[f32], share: f64, gradient: &mut [f64]) -> f64 {
        match self {
            EmbeddingDistance::Mse => {
                let width = student.len() as f64;
                let mut sum = 0.0;
                for ((slope, student), teacher) in gradient.iter_mut().zip(student).zip(teacher) {
                    let difference = f64::from(*student) - f64::from(*teacher);
                    sum += difference * difference;
                    *slope += 2.0 * share * difference / width;
                }
                sum / width
            }
            EmbeddingDistance::L2 => {
                let function = PairFunction::Euclidean { shift: 0.0 };
                -function.with_gradient(student, teacher, -share, gradient)
            }
            EmbeddingDistance::Cosine => {
                1.0 - PairFunction::Cosine.with_gradient(student, teacher, -share, gradient)
            }
        }
    }
}
