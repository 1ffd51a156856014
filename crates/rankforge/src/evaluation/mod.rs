//! Evaluators: the keys, CSV files and tie rules of sentence-transformers.

mod correlation;
mod first_stage;
mod record;
mod relevance;
mod reranking;
mod samples;
mod sequential;
mod statistics;

pub use correlation::CrossEncoderCorrelationEvaluator;
pub use first_stage::{FirstStage, samples_from_first_stage};
pub use reranking::CrossEncoderRerankingEvaluator;
pub use samples::{Candidates, RerankingSample, reranking_samples};
pub use sequential::SequentialEvaluator;
pub use statistics::{pearson, spearman};

use crate::{Error, Metrics};
use rankforge_encoder::{CrossEncoder, EncoderError, PredictOptions, Reporter};
use std::path::Path;

/// Scores pairs with one number each; a [`CrossEncoder`], or a table in tests.
pub trait PairScorer: Sync {
    /// One score for each pair, after the output activation.
    ///
    /// # Errors
    /// A model of several labels, or as [`CrossEncoder::predict`].
    fn score(
        &self,
        pairs: &[(&str, &str)],
        batch_size: usize,
        reporter: &dyn Reporter,
    ) -> Result<Vec<f32>, EncoderError>;
}

impl PairScorer for CrossEncoder {
    fn score(
        &self,
        pairs: &[(&str, &str)],
        batch_size: usize,
        reporter: &dyn Reporter,
    ) -> Result<Vec<f32>, EncoderError> {
        if self.num_labels() != 1 {
            return Err(EncoderError::Input(format!(
                "one score for each pair needs a model with 1 output label, but got a model with {} output labels",
                self.num_labels()
            )));
        }
        let options = PredictOptions { batch_size, ..PredictOptions::default() };
        Ok(self.predict(pairs, &options, reporter)?.values)
    }
}

/// Where in a run an evaluation happens, and where its CSV goes.
#[derive(Clone, Copy, Debug)]
pub struct Moment<'a> {
    /// Folder of the CSV file; `None` writes none.
    pub output_path: Option<&'a Path>,
    /// Epoch; -1 outside training.
    pub epoch: f64,
    /// Step; -1 outside training or at the end of an epoch.
    pub steps: i64,
}

impl Moment<'_> {
    /// An evaluation outside training that writes no file.
    pub const OUTSIDE: Moment<'static> = Moment { output_path: None, epoch: -1.0, steps: -1 };
}

/// Measures a model.
pub trait Evaluator<M: ?Sized>: Send + Sync {
    /// Class name as in sentence-transformers.
    fn class_name(&self) -> &'static str;

    /// Name of the data, prefix of the keys.
    fn name(&self) -> &str;

    /// The key that says which model is best, prefix included.
    fn primary_metric(&self) -> String;

    /// Settings, for the model card.
    fn config(&self) -> serde_json::Value;

    /// The figures, keys with prefix.
    ///
    /// # Errors
    /// When the model refuses an input, or the CSV file cannot be written.
    fn evaluate(
        &self,
        model: &M,
        moment: Moment<'_>,
        reporter: &dyn Reporter,
    ) -> Result<Metrics, Error>;
}

/// A key with the name of the data in front, when there is one.
fn with_name(name: &str, key: &str) -> String {
    if name.is_empty() { key.to_owned() } else { format!("{name}_{key}") }
}

/// Scores of a model, none of them infinite or not a number: no figure would mean anything.
pub(crate) fn finite_scores<S: PairScorer + ?Sized>(
    model: &S,
    pairs: &[(&str, &str)],
    batch_size: usize,
    reporter: &dyn Reporter,
) -> Result<Vec<f32>, Error> {
    let scores = model.score(pairs, batch_size, reporter)?;
    assert_eq!(scores.len(), pairs.len(), "{} scores for {} pairs", scores.len(), pairs.len());
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(index) => Err(Error::NotFinite(format!(
            "the model scores pair {index} of {} as {}: {:?}",
            pairs.len(),
            scores[index],
            pairs[index]
        ))),
    }
}
