use crate::error::Error;
use crate::label_columns::LABEL_COLUMNS;
use crate::model_card::data::{ModelCardData, TrainingReport};
use crate::model_card::names::num_labels;
use rankforge_data::{Rows, Value};
use rankforge_encoder::{EncoderError, ModelKind, PredictOptions, TextModel};
use serde::Serialize;

/// Rows in the examples.
const EXAMPLES: usize = 5;

/// The examples of the usage section.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    model_id: String,
    /// Pairs of a reranker, as Python lists.
    pairs: Vec<String>,
    /// What `predict` gives, or its shape.
    scores: String,
    /// First text of the first pair, as a Python string.
    query: String,
    /// Texts ranked for it, as Python strings.
    documents: Vec<String>,
    /// The two text columns, for the command line.
    columns: String,
}

/// Examples from the first training rows, or built-in ones.
///
/// # Errors
/// When the examples cannot be scored.
pub(super) fn snippets(
    model: &dyn TextModel,
    data: &ModelCardData,
    report: Option<&TrainingReport<'_>>,
) -> Result<Usage, Error> {
    let first = match report.and_then(|report| report.train_sets.first()) {
        None => None,
        Some(set) => {
            let numbers: Vec<usize> = (0..set.rows.len().min(EXAMPLES)).collect();
            Some(set.rows.read(&numbers)?)
        }
    };
    let found = first.as_ref().and_then(pairs_of);
    let (columns, pairs) = found.unwrap_or_else(|| {
        let pairs = [
            ("How many calories are in an egg?", "A large egg has about 72 calories."),
            ("How many calories are in an egg?", "Eggs are laid by hens of many breeds."),
        ];
        ("query,answer".to_owned(), pairs.to_vec())
    });
    let scores = match num_labels(model) {
        Some(labels) if labels > 1 => format!("shape ({}, {labels})", pairs.len()),
        _ => scores(model, &pairs)?.unwrap_or_else(|| format!("shape ({},)", pairs.len())),
    };
    let literal = |text: &str| serde_json::Value::from(text).to_string();
    let placeholder = match model.kind() {
        ModelKind::CrossEncoder => "cross_encoder_model_id",
        ModelKind::SentenceTransformer => "sentence_transformers_model_id",
    };
    Ok(Usage {
        model_id: data.model_id.clone().unwrap_or_else(|| placeholder.to_owned()),
        pairs: pairs
            .iter()
            .map(|(first, second)| format!("[{}, {}]", literal(first), literal(second)))
            .collect(),
        scores,
        query: literal(pairs[0].0),
        documents: pairs.iter().map(|(_, second)| literal(second)).collect(),
        columns,
    })
}

/// What `predict` gives for the pairs; `None` for a model that does not score or whose scores are
/// not finite, which is no reason to lose a checkpoint.
fn scores(model: &dyn TextModel, pairs: &[(&str, &str)]) -> Result<Option<String>, Error> {
    let Some(model) = model.as_score() else { return Ok(None) };
    let scores = match model.score(pairs, &PredictOptions::default()) {
        Err(EncoderError::NotFinite { .. }) => return Ok(None),
        scores => scores?,
    };
    let scores: Vec<String> = scores.iter().map(|score| format!("{score:.4}")).collect();
    Ok(Some(format!("[{}]", scores.join(" "))))
}

/// The first two text columns of the first rows; a list column gives its texts for the first row.
fn pairs_of(rows: &Rows) -> Option<(String, Vec<(&str, &str)>)> {
    let mut texts =
        rows.columns().iter().filter(|(name, _)| !LABEL_COLUMNS.contains(&name.as_str()));
    let (first, second) = (texts.next()?, texts.next()?);
    let columns = format!("{},{}", first.0, second.0);
    let pairs: Vec<(&str, &str)> = match second.1.first()? {
        Value::List(documents) => {
            let query = text(first.1.first()?)?;
            documents.iter().take(EXAMPLES).filter_map(|d| Some((query, text(d)?))).collect()
        }
        _ => {
            let pairs = first.1.iter().zip(&second.1).take(EXAMPLES);
            pairs.filter_map(|(a, b)| Some((text(a)?, text(b)?))).collect()
        }
    };
    (!pairs.is_empty()).then_some((columns, pairs))
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
