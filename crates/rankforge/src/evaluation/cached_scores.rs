use rankforge_encoder::{EncoderError, PredictOptions, Score};
use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

/// Scores each pair once, for several evaluations of the same pairs.
pub struct CachedScores<S> {
    model: S,
    known: Mutex<HashMap<(String, String), f32>>,
}

impl<S: Score> CachedScores<S> {
    /// In front of a model.
    pub fn new(model: S) -> CachedScores<S> {
        CachedScores { model, known: Mutex::default() }
    }
}

impl<S: Score> Score for CachedScores<S> {
    fn score(
        &self,
        pairs: &[(&str, &str)],
        options: &PredictOptions,
    ) -> Result<Vec<f32>, EncoderError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        let mut unknown: Vec<(&str, &str)> =
            pairs.iter().filter(|pair| !known.contains_key(&key(pair))).copied().collect();
        let mut met = HashSet::new();
        unknown.retain(|pair| met.insert(*pair));
        if !unknown.is_empty() {
            let scores = self.model.score(&unknown, options)?;
            known.extend(unknown.iter().map(key).zip(scores));
        }
        Ok(pairs.iter().map(|pair| known[&key(pair)]).collect())
    }
}
