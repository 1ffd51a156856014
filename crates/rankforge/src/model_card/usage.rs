use crate::error::Error;
use crate::label_columns::LABEL_COLUMNS;
use crate::model_card::data::{ModelCardData, TrainingReport};
use crate::model_card::names::num_labels;
use crate::similarity_of_pair::similarity_of_pair;
use rankforge_data::{Rows, Value};
use rankforge_encoder::{EncodeOptions, EncoderError, ModelKind, PredictOptions, Side, TextModel};
use serde::Serialize;

/// Maximum number of pairs in the examples.
const EXAMPLES: usize = 5;

/// The examples of the usage section.
#[derive(Debug, Serialize)]
pub(super) struct Usage {
    model_id: String,
    /// Pairs of texts.
    #[serde(skip)]
    pub(super) examples: Vec<(String, String)>,
    /// The same as Python lists.
    pairs: Vec<String>,
    /// The scores that `predict` returns, or their shape.
    scores: String,
    /// The similarities of the query and the documents, as PyTorch shows them.
    similarities: Option<String>,
    /// The first text of the first pair, as a Python string.
    query: String,
    /// The texts to rank for the query, as Python strings.
    documents: Vec<String>,
    /// Names of the two text columns, separated by a comma, for the command line.
    columns: String,
}

/// Builds the examples from the first training rows, or from built-in pairs.
///
/// # Errors
/// Rows that cannot be read, or examples that the model cannot score.
pub(super) fn snippets(
    model: &dyn TextModel,
    data: &ModelCardData,
    report: Option<&TrainingReport<'_>>,
) -> Result<Usage, Error> {
    let set = report.and_then(|report| report.train_sets.first());
    let first = match set {
        None => None,
        Some(set) => {
            let indices: Vec<usize> = (0..set.rows.len().min(EXAMPLES)).collect();
            Some(set.rows.read(&indices)?)
        }
    };
    let chosen = set.and_then(|set| set.columns);
    let found = first.as_ref().and_then(|rows| pairs_of(rows, chosen));
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
        examples: pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(),
        pairs: pairs
            .iter()
            .map(|(first, second)| format!("[{}, {}]", literal(first), literal(second)))
            .collect(),
        scores,
        similarities: similarities(model, &pairs)?,
        query: literal(pairs[0].0),
        documents: pairs.iter().map(|(_, second)| literal(second)).collect(),
        columns,
    })
}

/// The scores that `predict` returns for the pairs. `None` for a model that does not score pairs,
/// and for scores that are not finite: they must not keep a checkpoint from being written.
fn scores(model: &dyn TextModel, pairs: &[(&str, &str)]) -> Result<Option<String>, Error> {
    let Some(model) = model.as_score() else { return Ok(None) };
    let scores = match model.score(pairs, &PredictOptions::default()) {
        Err(EncoderError::NotFinite { .. }) => return Ok(None),
        scores => scores?,
    };
    let scores: Vec<String> = scores.iter().map(|score| format!("{score:.4}")).collect();
    Ok(Some(format!("[{}]", scores.join(" "))))
}

/// The similarities of the first text of the first pair and all second texts. `None` for a model
/// that does not embed texts, and for embeddings that are not finite.
fn similarities(model: &dyn TextModel, pairs: &[(&str, &str)]) -> Result<Option<String>, Error> {
    let Some(model) = model.as_embed() else { return Ok(None) };
    let options = EncodeOptions::default();
    let documents: Vec<&str> = pairs.iter().map(|(_, second)| *second).collect();
    let embed = |side, texts: &[&str]| match model.embed(side, texts, &options) {
        Err(EncoderError::NotFinite { .. }) => Ok(None),
        outputs => outputs.map(Some),
    };
    let query = embed(Side::Query, &[pairs[0].0])?;
    let (Some(query), Some(documents)) = (query, embed(Side::Document, &documents)?) else {
        return Ok(None);
    };
    let rows = (0..documents.rows).map(|row| documents.row(row));
    let values = rows.map(|row| similarity_of_pair(model.similarity(), query.row(0), row));
    let values: Vec<String> = values.map(|value| format!("{value:.4}")).collect();
    Ok(Some(format!("tensor([[{}]])", values.join(", "))))
}

/// Names of the first two text columns, and pairs of their texts in the first rows. When the second
/// column holds lists, the pairs are those of the first row.
fn pairs_of<'a>(
    rows: &'a Rows,
    chosen: Option<&[String]>,
) -> Option<(String, Vec<(&'a str, &'a str)>)> {
    let columns = rows.columns();
    let [first, second] = match chosen {
        Some([first, second, ..]) => {
            let named = |name: &String| columns.iter().find(|(known, _)| known == name);
            [named(first)?, named(second)?]
        }
        Some(_) => return None,
        None => {
            let is_text = |name: &str| !LABEL_COLUMNS.contains(&name);
            let mut texts = columns.iter().filter(|(name, _)| is_text(name));
            [texts.next()?, texts.next()?]
        }
    };
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
    value.as_text()
}
