//! A custom evaluator: the share of queries for which a reranker scores the right passage above a
//! wrong one.
//!
//! ```sh
//! cargo run --release --example own_evaluator -- RERANKER TRIPLETS.jsonl
//! ```
//!
//! The rows have the columns `query`, `positive` and `negative`. Evaluators in
//! `Trainer::evaluators` measure the model during training, and a primary metric can select the
//! best checkpoint.

use rankforge::data::{Location, Rows, load_rows};
use rankforge::encoder::{CrossEncoder, PredictOptions, Score};
use rankforge::evaluation::{EvaluationContext, Evaluator};
use rankforge::{Error, Metrics};
use std::path::Path;

/// The share of triplets whose positive scores higher than their negative.
pub struct TripletAccuracy {
    triplets: Vec<[String; 3]>,
    name: String,
}

impl TripletAccuracy {
    /// Reads triplets from the columns `query`, `positive` and `negative`.
    ///
    /// # Errors
    /// A missing column, or no rows.
    pub fn new(rows: &Rows, name: &str) -> Result<TripletAccuracy, Error> {
        let columns = [rows.texts("query")?, rows.texts("positive")?, rows.texts("negative")?];
        if rows.is_empty() {
            return Err(Error::rows("TripletAccuracy", "at least one row", "none"));
        }
        let triplet = |row: usize| columns.each_ref().map(|column| column[row].to_owned());
        Ok(TripletAccuracy { triplets: (0..rows.len()).map(triplet).collect(), name: name.into() })
    }
}

/// Evaluates everything that scores pairs: a reranker, a cache in front of one, a remote service.
impl<S: Score + ?Sized> Evaluator<S> for TripletAccuracy {
    fn class_name(&self) -> &'static str {
        "TripletAccuracy"
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn primary_metric(&self, _: &Metrics) -> String {
        format!("{}_accuracy", self.name)
    }

    fn metric_names(&self, _: &S) -> Vec<String> {
        vec![format!("{}_accuracy", self.name)]
    }

    fn config(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    fn evaluate(&self, model: &S, context: &EvaluationContext<'_>) -> Result<Metrics, Error> {
        let pairs: Vec<(&str, &str)> = self
            .triplets
            .iter()
            .flat_map(|[query, positive, negative]| [(query, positive), (query, negative)])
            .map(|(query, text)| (query.as_str(), text.as_str()))
            .collect();
        let reporter = context.reporter.clone();
        let scores = model.score(&pairs, &PredictOptions { reporter, ..Default::default() })?;
        let right = scores.chunks_exact(2).filter(|pair| pair[0] > pair[1]).count();
        let mut metrics = Metrics::new();
        metrics.insert("accuracy", right as f64 / self.triplets.len() as f64);
        Ok(metrics.with_prefix(&self.name))
    }
}

#[expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a program prints")]
fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [reranker, triplets] = &arguments[..] else {
        panic!("expected RERANKER TRIPLETS.jsonl, got {arguments:?}");
    };
    println!("{:.4}", run(Path::new(reranker), Path::new(triplets))?);
    Ok(())
}

/// The accuracy of a reranker.
pub fn run(reranker: &Path, triplets: &Path) -> Result<f64, Error> {
    let evaluator = TripletAccuracy::new(&load_rows(&Location::new(triplets))?, "triplets")?;
    let model = CrossEncoder::open(reranker)?;
    let metrics = evaluator.evaluate(&model, &EvaluationContext::default())?;
    Ok(metrics.get("triplets_accuracy").expect("the evaluator returns this metric"))
}
