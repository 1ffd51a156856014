//! What a run keeps for its page besides log and metrics.

use crate::error::Error;
use crate::evaluation::{EvaluationDetails, ScoreHistogram};
use crate::training::checkpoint::{read_json, write_json};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file in the output directory of a run, from which a run that resumes takes it.
pub(crate) const REPORT_DATA: &str = "report.json";

/// Details of evaluations, and scores of a sample of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    /// The first evaluation, with which later ones are compared.
    pub(crate) first: Option<Evaluated>,
    /// The best evaluation.
    pub(crate) best: Option<Evaluated>,
    /// The latest evaluation.
    pub(crate) latest: Option<Evaluated>,
    /// The scores of a sample of rows, where no evaluator gives scores.
    pub(crate) sample: Option<SampledScores>,
}

/// The details of one evaluation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Evaluated {
    pub(crate) step: u64,
    pub(crate) details: Vec<EvaluationDetails>,
}

/// Scores of the same rows before and after training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SampledScores {
    /// Which rows, and which of their texts count as relevant.
    pub(crate) of: String,
    pub(crate) before: ScoreHistogram,
    pub(crate) after: Option<ScoreHistogram>,
}

impl Recorded {
    /// What a run had kept up to `step` in its output directory; nothing if there is no file.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn up_to(step: u64, folder: &Path) -> Result<Recorded, Error> {
        let path = folder.join(REPORT_DATA);
        if !path.is_file() {
            return Ok(Recorded::default());
        }
        let mut recorded: Recorded = read_json(&path)?;
        for kept in [&mut recorded.first, &mut recorded.best, &mut recorded.latest] {
            *kept = kept.take().filter(|evaluated| evaluated.step <= step);
        }
        Ok(recorded)
    }

    /// # Errors
    /// A file that cannot be written.
    pub(crate) fn write(&self, folder: &Path) -> Result<(), Error> {
        write_json(&folder.join(REPORT_DATA), self)
    }

    /// Takes the details of an evaluation.
    pub(crate) fn add(&mut self, evaluated: Evaluated) {
        let mut latest = evaluated.clone();
        if self.first.is_none() {
            self.first = Some(evaluated);
        }
        // Later evaluations compare with the first only.
        latest.details.iter_mut().for_each(|details| details.ranked = None);
        self.latest = Some(latest);
    }

    /// The evaluation of `step`, or else the latest.
    pub(crate) fn of_step(&self, step: u64) -> Option<&Evaluated> {
        let mut kept = [&self.latest, &self.best, &self.first].into_iter().flatten();
        kept.find(|evaluated| evaluated.step == step).or(self.latest.as_ref())
    }
}
