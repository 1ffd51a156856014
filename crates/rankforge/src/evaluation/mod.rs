//! Evaluators: the keys, CSV files and tie rules of sentence-transformers.

use crate::{Error, Metrics};
use rankforge_encoder::{CrossEncoder, EncoderError, PredictOptions, Reporter};
use std::path::Path;

/// Scores pairs with one number each; a [`CrossEncoder`], or a table in tests.
pub trait PairScorer: Sync {
    /// One score for each pair, after the output activation.
    ///
    /// # Errors
    /// As [`CrossEncoder::predict`].
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
