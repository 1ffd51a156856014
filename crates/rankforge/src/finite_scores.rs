//! Scores of a model, checked: no metric can be computed from infinities or NaN.

use crate::error::Error;
use rankforge_base::Reporter;
use rankforge_encoder::{PredictOptions, Score};
use std::sync::Arc;

/// One score for each pair.
///
/// # Errors
/// When the model cannot read a pair, or a score is not finite.
pub(crate) fn finite_scores(
    model: &(impl Score + ?Sized),
    pairs: &[(&str, &str)],
    batch_size: usize,
    reporter: &Arc<dyn Reporter>,
) -> Result<Vec<f32>, Error> {
    let reporter = reporter.clone();
    let options = PredictOptions { batch_size, reporter, ..PredictOptions::default() };
    let scores = model.score(pairs, &options)?;
    assert_eq!(scores.len(), pairs.len(), "{} scores for {} pairs", scores.len(), pairs.len());
    match scores.iter().position(|score| !score.is_finite()) {
        None => Ok(scores),
        Some(index) => Err(Error::Score { index, pairs: pairs.len(), score: scores[index] }),
    }
}
