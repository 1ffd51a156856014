use crate::arguments::TrainingArguments;
use crate::losses::Loss;
use crate::model_card::tables::EvaluationResult;
use crate::trainer_state::TrainerState;
use rankforge_data::RowSource;
use serde::{Deserialize, Serialize};

/// The fields of a card that are not known from the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelCardData {
    /// Language codes.
    pub language: Vec<String>,
    /// Licence identifier.
    pub license: Option<String>,
    /// Title; by default it is made from the name of the base model.
    pub model_name: Option<String>,
    /// Name that the usage examples load; by default a placeholder.
    pub model_id: Option<String>,
    /// Names of the training sets.
    pub train_datasets: Vec<DatasetName>,
    /// Names of the evaluation sets.
    pub eval_datasets: Vec<DatasetName>,
    /// What the model is for; the default depends on its kind.
    pub task_name: Option<String>,
    /// Tags besides those that are known from the run.
    pub tags: Vec<String>,
}

/// The name of a data set, and where it is on the Hugging Face Hub.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatasetName {
    /// Name.
    pub name: Option<String>,
    /// Its `owner/name` on the Hugging Face Hub.
    pub id: Option<String>,
    /// Its revision there.
    pub revision: Option<String>,
}

/// Seconds of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Timing {
    /// In training steps and checkpoints.
    pub training: f64,
    /// In evaluation.
    pub evaluation: f64,
}

/// A run, as the card describes it.
pub struct TrainingReport<'a> {
    /// How the model was trained.
    pub arguments: &'a TrainingArguments,
    /// The log, and the best step.
    pub state: &'a TrainerState,
    /// What it was trained on.
    pub train_sets: Vec<ReportedSet<'a>>,
    /// What the evaluation loss is computed on.
    pub eval_sets: Vec<ReportedSet<'a>>,
    /// The latest result of each evaluator.
    pub evaluations: &'a [EvaluationResult],
    /// How long it took.
    pub timing: Timing,
}

/// A training or evaluation set, as the card describes it.
#[derive(Clone, Copy)]
pub struct ReportedSet<'a> {
    /// Its name; empty when there is one.
    pub name: &'a str,
    /// Its rows.
    pub rows: &'a dyn RowSource,
    /// Its loss.
    pub loss: &'a dyn Loss,
}
