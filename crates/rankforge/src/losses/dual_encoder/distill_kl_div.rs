use crate::error::Error;
use crate::losses::columns;
use crate::losses::dual_encoder::pairwise::over_pairs;
use crate::losses::dual_encoder::similarity::PairwiseSimilarity;
use crate::losses::examples::{Examples, Targets};
use crate::losses::loss::{Draw, Loss, LossBatch, LossOutput, Plan};
use crate::losses::settings::optional;
use crate::losses::table::NamedLoss;
use rankforge_encoder::ModelKind;
use serde::Deserialize;
use serde_json::json;

/// `T_s^2 mean over rows of KL(softmax(teacher / T_t) || softmax(student / T_s))`, where the scores
/// of the student are the similarities of the query and each text of the row.
///
/// Data: a query column, at least two text columns, and a label: the list of the teacher's scores
/// of the texts.
///
/// # Shapes
/// `B` rows and `C` columns give `B C` single texts, column after column; outputs `B C x E`.
///
/// # Paper
/// Lin et al. 2020, Distilling Dense Representations for Ranking using Tightly-Coupled Teachers,
/// arXiv:2010.11386.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DistillKLDivLoss {
    /// Dot product by default.
    pub similarity_fct: PairwiseSimilarity,
    /// `T_s` and `T_t` where they are not given; 1 by default.
    pub temperature: f64,
    /// `T_s`.
    #[serde(deserialize_with = "optional")]
    pub student_temperature: Option<f64>,
    /// `T_t`.
    #[serde(deserialize_with = "optional")]
    pub teacher_temperature: Option<f64>,
}

impl Default for DistillKLDivLoss {
    fn default() -> DistillKLDivLoss {
        DistillKLDivLoss {
            similarity_fct: PairwiseSimilarity::Dot,
            temperature: 1.0,
            student_temperature: None,
            teacher_temperature: None,
        }
    }
}

const NAME: &str = "DistillKLDivLoss";

const CITATION: &str = "@misc{lin2020distillingdenserepresentationsranking,
    title={Distilling Dense Representations for Ranking using Tightly-Coupled Teachers},
    author={Sheng-Chieh Lin and Jheng-Hong Yang and Jimmy Lin},
    year={2020},
    eprint={2010.11386},
    archivePrefix={arXiv},
    primaryClass={cs.IR},
    url={https://arxiv.org/abs/2010.11386},
}";

impl NamedLoss for DistillKLDivLoss {
    const NAME: &'static str = NAME;
    const CITATION: &'static str = CITATION;
}

impl Loss for DistillKLDivLoss {
    fn name(&self) -> &'static str {
        NAME
    }

    fn config(&self) -> serde_json::Value {
        let mut config = json!({
            "similarity_fct": self.similarity_fct.name(),
            "temperature": self.temperature,
        });
        for (name, value) in [
            ("student_temperature", self.student_temperature),
            ("teacher_temperature", self.teacher_temperature),
        ] {
            if let Some(value) = value.filter(|value| *value != self.temperature) {
                config[name] = json!(value);
            }
        }
        config
    }

    fn citation(&self) -> &'static str {
        CITATION
    }

    fn check(&self) -> Result<(), Error> {
        for (name, value) in [
            ("temperature", Some(self.temperature)),
            ("student_temperature", self.student_temperature),
            ("teacher_temperature", self.teacher_temperature),
        ] {
            if let Some(value) = value.filter(|value| !(*value > 0.0 && value.is_finite())) {
                let field = format!("{NAME}.{name}");
                return Err(Error::argument(field, "a positive number", value));
            }
        }
        Ok(())
    }

    fn check_model(&self, kind: ModelKind, _output_columns: usize) -> Result<(), Error> {
        columns::expect_embeddings(NAME, kind)
    }

    fn plan<'a>(&self, examples: &'a Examples, _draw: Draw) -> Result<Plan<'a>, Error> {
        // The softmax of one score is 1, whatever the score.
        let expected =
            "at least three text columns (query and two or more texts) and a label column";
        let (inputs, rows) = columns::single_texts(NAME, examples, |n| n >= 3, expected)?;
        let texts = examples.columns.len() - 1;
        let expected =
            format!("a list of {texts} scores, one for each text column after the first");
        let labels = columns::label_lists(NAME, examples, |length| length == texts, &expected)?;
        Ok(Plan { inputs, rows, targets: Targets::Lists(labels) })
    }

    fn compute(&self, batch: &LossBatch<'_>) -> LossOutput {
        let Targets::Lists(teacher) = batch.targets else { panic!("{NAME} without scores") };
        let texts = teacher.first().map_or(0, Vec::len);
        let rows = batch.expect_columns(NAME, texts + 1);
        let pairs: Vec<(usize, usize)> = (1..texts + 1).map(|column| (0, column)).collect();
        let of_student = self.student_temperature.unwrap_or(self.temperature);
        let of_teacher = self.teacher_temperature.unwrap_or(self.temperature);
        over_pairs(batch, &pairs, self.similarity_fct.function(), |scores| {
            let mut sum = 0.0;
            for (row, teacher) in teacher.iter().enumerate() {
                let own = scores[row..].iter().step_by(rows).map(|score| score / of_student);
                let student = log_softmax(own.collect());
                let teacher = teacher.iter().map(|score| f64::from(*score) / of_teacher);
                let teacher = log_softmax(teacher.collect());
                for ((score, student), teacher) in
                    scores[row..].iter_mut().step_by(rows).zip(student).zip(teacher)
                {
                    sum += teacher.exp() * (teacher - student);
                    *score = (student.exp() - teacher.exp()) * of_student / rows as f64;
                }
            }
            sum * of_student * of_student / rows as f64
        })
    }
}

/// The logarithms of a softmax.
fn log_softmax(mut scores: Vec<f64>) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scores.iter().map(|score| (score - largest).exp()).sum();
    scores.iter_mut().for_each(|score| *score -= largest + sum.ln());
    scores
}
