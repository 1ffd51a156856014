//! Evaluators by recipe.

use crate::commands::evaluate::{RerankingData, reranking_evaluator};
use crate::console::Console;
use crate::failure::Mistake;
use rankforge::Precision;
use rankforge::data::{Location, load_rows};
use rankforge::encoder::CrossEncoder;
use rankforge::evaluation::{CrossEncoderCorrelationEvaluator, Evaluator};
use serde::Deserialize;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// One of `[[evaluators]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvaluatorSection {
    r#type: EvaluatorType,
    /// Data set, or BEIR folder.
    path: PathBuf,
    #[serde(default)]
    split: Option<String>,
    #[serde(default)]
    columns: Option<Vec<String>>,
    #[serde(default)]
    limit: Option<NonZeroUsize>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    batch_size: Option<NonZeroUsize>,
    #[serde(default)]
    write_csv: Option<bool>,
    #[serde(default)]
    at_k: Option<NonZeroUsize>,
    #[serde(default)]
    always_rerank_positives: Option<bool>,
    #[serde(default)]
    first_stage: Option<PathBuf>,
    #[serde(default)]
    depth: Option<NonZeroUsize>,
}

/// Evaluators by the names of sentence-transformers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
enum EvaluatorType {
    #[serde(rename = "CrossEncoderCorrelationEvaluator")]
    Correlation,
    #[serde(rename = "CrossEncoderRerankingEvaluator")]
    Reranking,
}

impl EvaluatorSection {
    /// Reads the data and builds the evaluator.
    ///
    /// # Errors
    /// Data that cannot be used, or a field that this evaluator has not.
    pub(crate) fn build(
        &self,
        console: &Console,
    ) -> anyhow::Result<Box<dyn Evaluator<CrossEncoder>>> {
        match self.r#type {
            EvaluatorType::Correlation => self.correlation(),
            EvaluatorType::Reranking => self.reranking(console),
        }
    }

    fn location(&self) -> Location {
        Location {
            path: self.path.clone(),
            split: self.split.clone(),
            columns: self.columns.clone(),
            limit: self.limit.map(NonZeroUsize::get),
        }
    }

    fn correlation(&self) -> anyhow::Result<Box<dyn Evaluator<CrossEncoder>>> {
        let foreign = [
            ("at_k", self.at_k.is_some()),
            ("always_rerank_positives", self.always_rerank_positives.is_some()),
            ("first_stage", self.first_stage.is_some()),
            ("depth", self.depth.is_some()),
        ];
        if let Some((field, _)) = foreign.iter().find(|(_, given)| *given) {
            let message = format!("CrossEncoderCorrelationEvaluator has no field `{field}`");
            return Err(Mistake::input(message).into());
        }
        let mut evaluator = correlation_evaluator(&self.location(), &self.name)?;
        evaluator.batch_size = self.batch_size.map_or(evaluator.batch_size, NonZeroUsize::get);
        evaluator.write_csv = self.write_csv.unwrap_or(evaluator.write_csv);
        Ok(Box::new(evaluator))
    }

    fn reranking(&self, console: &Console) -> anyhow::Result<Box<dyn Evaluator<CrossEncoder>>> {
        let at_k = self.at_k.map_or(10, NonZeroUsize::get);
        let data = RerankingData {
            location: self.location(),
            first_stage: self.first_stage.clone(),
            depth: self.depth.map(NonZeroUsize::get),
            at_k,
            precision: Precision::Float32,
        };
        let (mut evaluator, _) = reranking_evaluator(&data, &self.name, console)?;
        evaluator.always_rerank_positives =
            self.always_rerank_positives.unwrap_or(evaluator.always_rerank_positives);
        evaluator.batch_size = self.batch_size.map_or(evaluator.batch_size, NonZeroUsize::get);
        evaluator.write_csv = self.write_csv.unwrap_or(evaluator.write_csv);
        Ok(Box::new(evaluator))
    }
}

/// Pairs and gold scores from three columns, by role.
///
/// # Errors
/// A missing column, or one of another kind.
pub(crate) fn correlation_evaluator(
    location: &Location,
    name: &str,
) -> anyhow::Result<CrossEncoderCorrelationEvaluator> {
    let rows = load_rows(location)?;
    let names = rows.column_names();
    let [first, second, score, ..] = names.as_slice() else {
        return Err(Mistake::input(format!(
            "{}: expected the columns of two texts and a score, got {}",
            location.path.display(),
            names.join(", ")
        ))
        .into());
    };
    if names.len() > 3 && location.columns.is_none() {
        let message = format!(
            "{}: which of the columns {} are the two texts and the score?",
            location.path.display(),
            names.join(", ")
        );
        return Err(Mistake::input(message)
            .hint("name them in order, for example --columns sentence1,sentence2,score")
            .into());
    }
    Ok(CrossEncoderCorrelationEvaluator::from_rows(&rows, [first, second, score], name)?)
}
