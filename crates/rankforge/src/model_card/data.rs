use crate::arguments::TrainingArguments;
use crate::losses::Loss;
use crate::model_card::tables::EvaluationResult;
use crate::trainer_state::TrainerState;
use rankforge_data::RowSource;
use serde::{Deserialize, Serialize};

/// The fields of a model card that do not follow from the model and the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelCardData {
    /// Language codes, such as `en`.
    pub language: Vec<String>,
    /// License identifier, such as `apache-2.0`.
    pub license: Option<String>,
    /// Title; by default, it is built from the names of the base model and the training sets.
    pub model_name: Option<String>,
    /// Model name in the usage examples; a placeholder by default.
    pub model_id: Option<String>,
    /// Names of the training sets.
    pub train_datasets: Vec<DatasetName>,
    /// Names of the evaluation sets.
    pub eval_datasets: Vec<DatasetName>,
    /// Task of the model; the default depends on the kind of model.
    pub task_name: Option<String>,
    /// Tags in addition to those that follow from the model and the run.
    pub tags: Vec<String>,
}

/// The name of a data set, and its location on the Hugging Face Hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetName {
    /// Display name; `id` by default.
    pub name: Option<String>,
    /// `owner/name` on the Hugging Face Hub.
    pub id: Option<String>,
    /// Revision on the Hugging Face Hub: a commit hash.
    pub revision: Option<String>,
}

/// Durations of a run, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// Training, including checkpoints.
    pub training: f64,
    /// Evaluation.
    pub evaluation: f64,
    /// What all threads computed, in training and evaluation; `None` where it is not measured.
    pub cpu: Option<f64>,
}

/// What a model card reports about a training run.
pub struct TrainingReport<'a> {
    /// Arguments of the run.
    pub arguments: &'a TrainingArguments,
    /// State of the trainer, with the log and the best step.
    pub state: &'a TrainerState,
    /// The best step so far, if its parameters are loaded at the end.
    pub best_step: Option<u64>,
    /// Training sets.
    pub train_sets: Vec<ReportedSet<'a>>,
    /// Evaluation sets, on which the evaluation loss is computed.
    pub eval_sets: Vec<ReportedSet<'a>>,
    /// Latest result of each evaluator.
    pub evaluations: &'a [EvaluationResult],
    /// Durations of training and evaluation.
    pub timing: Timing,
}

/// A training or evaluation set in a report.
#[derive(Clone, Copy)]
pub struct ReportedSet<'a> {
    /// Name; may be empty when there is only one set.
    pub name: &'a str,
    /// Rows of the set.
    pub rows: &'a dyn RowSource,
    /// Text columns that were chosen, in their order; `None` means all but the label.
    pub columns: Option<&'a [String]>,
    /// Loss of the set.
    pub loss: &'a dyn Loss,
}

impl<'a> ReportedSet<'a> {
    /// The loss of the set, and those inside it.
    pub(super) fn losses(self) -> impl Iterator<Item = &'a dyn Loss> {
        std::iter::successors(Some(self.loss), |loss| loss.inner())
    }
}
