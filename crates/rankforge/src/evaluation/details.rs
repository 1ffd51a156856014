//! What a page about a run shows of an evaluation besides its metrics: how scores are distributed,
//! and which queries changed most.

use crate::evaluation::changes::Change;
use serde::{Deserialize, Serialize};
use std::sync::{Mutex, PoisonError};

/// Number of bins of a histogram.
const BINS: usize = 40;

/// What an evaluator found besides metrics.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvaluationDetails {
    /// Name of the evaluation data.
    pub name: String,
    /// Scores of relevant texts and of others.
    pub scores: Option<ScoreHistogram>,
    /// The queries that changed most against a first stage, or else against an earlier evaluation.
    pub changes: Option<Change>,
    /// What a later evaluation compares with, where there is no first stage.
    pub ranked: Option<RankedQueries>,
}

/// How many scores lie in each of equally wide bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScoreHistogram {
    /// Lower end of the first bin.
    pub low: f64,
    /// Width of a bin.
    pub width: f64,
    /// Number of scores of relevant texts in each bin.
    pub positives: Vec<u64>,
    /// Number of scores of other texts in each bin.
    pub negatives: Vec<u64>,
}

/// How an evaluation ranked the documents of its queries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankedQueries {
    /// Which evaluation it was.
    pub when: String,
    /// The metric of each query.
    pub values: Vec<f64>,
    /// The best documents of each query, as the evaluator numbers them.
    pub best: Vec<Vec<u32>>,
}

/// Takes the details of the evaluators of one evaluation, and has those of an earlier one.
#[derive(Debug, Default)]
pub struct DetailCollector {
    /// Which evaluation this is, such as `step 100`.
    when: String,
    earlier: Vec<EvaluationDetails>,
    found: Mutex<Vec<EvaluationDetails>>,
}

impl DetailCollector {
    /// A collector for the evaluation `when`, with the details of an earlier one to compare with.
    pub fn new(when: impl Into<String>, earlier: Vec<EvaluationDetails>) -> DetailCollector {
        DetailCollector { when: when.into(), earlier, found: Mutex::default() }
    }

    /// Takes the details that an evaluator found.
    pub fn add(&self, details: EvaluationDetails) {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).push(details);
    }

    /// Takes finite scores, each with whether its text is relevant.
    pub(crate) fn add_scores(&self, name: &str, scores: impl Iterator<Item = (f64, bool)>) {
        let scores = ScoreHistogram::of_flagged(scores);
        self.add(EvaluationDetails { name: name.to_owned(), scores, ..Default::default() });
    }

    /// The rankings of the earlier evaluation, if they are of `queries` queries.
    pub(crate) fn earlier(&self, name: &str, queries: usize) -> Option<&RankedQueries> {
        let same = self.earlier.iter().find(|details| details.name == name)?;
        same.ranked.as_ref().filter(|ranked| ranked.values.len() == queries)
    }

    /// Which evaluation this is.
    pub(crate) fn when(&self) -> &str {
        &self.when
    }

    /// All details, in the order in which they were found.
    pub fn into_details(self) -> Vec<EvaluationDetails> {
        self.found.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScoreHistogram {
    /// Counts scores, which are finite. `None` if there is none of either kind.
    pub fn new(positives: &[f64], negatives: &[f64]) -> Option<ScoreHistogram> {
        if positives.is_empty() || negatives.is_empty() {
            return None;
        }
        let all = || positives.iter().chain(negatives).copied();
        let (low, high) = (all().fold(f64::MAX, f64::min), all().fold(f64::MIN, f64::max));
        let width = if high > low { (high - low) / BINS as f64 } else { 1.0 / BINS as f64 };
        let count = |scores: &[f64]| {
            let mut bins = vec![0; BINS];
            for score in scores {
                bins[(((score - low) / width) as usize).min(BINS - 1)] += 1;
            }
            bins
        };
        Some(ScoreHistogram {
            low,
            width,
            positives: count(positives),
            negatives: count(negatives),
        })
    }

    /// [`ScoreHistogram::new`] of scores, each with whether its text is relevant.
    pub fn of_flagged(scores: impl Iterator<Item = (f64, bool)>) -> Option<ScoreHistogram> {
        let (positives, negatives): (Vec<_>, Vec<_>) = scores.partition(|(_, flag)| *flag);
        let values = |scores: Vec<(f64, bool)>| -> Vec<f64> {
            scores.into_iter().map(|(score, _)| score).collect()
        };
        ScoreHistogram::new(&values(positives), &values(negatives))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_score_is_in_a_bin() {
        let histogram = ScoreHistogram::new(&[1.0, 0.5], &[0.0, 0.01, 0.5]).unwrap();
        assert_eq!((histogram.low, histogram.width), (0.0, 0.025));
        assert_eq!((histogram.positives[39], histogram.positives[20]), (1, 1));
        assert_eq!((histogram.negatives[0], histogram.negatives[20]), (2, 1));
        let equal = ScoreHistogram::new(&[2.0], &[2.0]).unwrap();
        assert_eq!((equal.positives[0], equal.negatives[0]), (1, 1));
        assert_eq!(ScoreHistogram::new(&[], &[1.0]), None);
    }
}
