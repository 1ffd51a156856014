//! The scores of a sample of rows, for models that no evaluator measures.

use crate::error::Error;
use crate::evaluation::ScoreHistogram;
use crate::label_columns::LABEL_COLUMNS;
use crate::similarity_of_pair::similarity_of_pair;
use crate::training::training_set::TrainingSet;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::index;
use rankforge_data::{Rows, Value};
use rankforge_encoder::{EncodeOptions, EncoderError, PredictOptions, Side, TextModel};

/// Greatest number of rows that are scored.
const ROWS: usize = 64;

/// Least number of rows that are scored: fewer show nothing.
const LEAST_ROWS: usize = 4;

/// Rows of training for each row that is scored. Rows are scored twice and without a backward
/// pass, so the sample takes at most about a hundredth of a run's time.
const TRAINED_PER_ROW: u64 = 64;

/// Number of texts or pairs that are scored at once: less memory than the steps of training take.
const BATCH_SIZE: usize = 8;

/// Greatest number of texts that are scored for a row.
const TEXTS: usize = 4;

/// What was scored, and the scores.
pub(crate) struct ScoredRows {
    pub(crate) of: String,
    pub(crate) scores: ScoreHistogram,
}

/// Pairs of texts with whether the second is relevant.
#[derive(Default)]
struct Pairs<'a> {
    rule: String,
    pairs: Vec<(&'a str, &'a str)>,
    relevant: Vec<bool>,
}

/// Scores rows drawn from a set, the same for each run, for a run that trains on `trained` rows.
/// `None` if these are too few for a sample, if the rows or the model have no score for a pair of
/// texts, or if there are no irrelevant or no relevant texts.
///
/// # Errors
/// Rows that cannot be read, or texts that cannot be scored.
pub(crate) fn sampled_scores(
    model: &dyn TextModel,
    set: &TrainingSet,
    what: &str,
    trained: u64,
) -> Result<Option<ScoredRows>, Error> {
    let all = set.rows.len();
    let count = all.min((trained / TRAINED_PER_ROW).min(ROWS as u64) as usize);
    if count < LEAST_ROWS {
        return Ok(None);
    }
    // Drawn, as every nth row may be one of those with the same label.
    let drawn = index::sample(&mut ChaCha8Rng::seed_from_u64(0), all, count);
    let mut indices = drawn.into_vec();
    indices.sort_unstable();
    let rows = set.rows.read(&indices)?;
    let Some(Pairs { rule, pairs, relevant }) = pairs_of(&rows, set.columns.as_deref()) else {
        return Ok(None);
    };
    let Some(scores) = scores(model, &pairs)? else { return Ok(None) };
    let histogram = ScoreHistogram::of_flagged(scores.into_iter().zip(relevant));
    let of = format!("{count} rows of the {what} data; {rule}");
    Ok(histogram.map(|scores| ScoredRows { of, scores }))
}

/// One score for each pair; `None` if the model has none, or if one is not finite.
fn scores(model: &dyn TextModel, pairs: &[(&str, &str)]) -> Result<Option<Vec<f64>>, Error> {
    let finite = |scores: Vec<f64>| scores.iter().all(|score| score.is_finite()).then_some(scores);
    if let Some(model) = model.as_score() {
        let options = PredictOptions { batch_size: BATCH_SIZE, ..PredictOptions::default() };
        return match model.score(pairs, &options) {
            Err(EncoderError::NotFinite { .. }) => Ok(None),
            scores => Ok(finite(scores?.into_iter().map(f64::from).collect())),
        };
    }
    let Some(model) = model.as_embed() else { return Ok(None) };
    let options = EncodeOptions { batch_size: BATCH_SIZE, ..EncodeOptions::default() };
    let embed = |side, texts: Vec<&str>| match model.embed(side, &texts, &options) {
        Err(EncoderError::NotFinite { .. }) => Ok(None),
        outputs => outputs.map(Some),
    };
    let first = embed(Side::Query, pairs.iter().map(|pair| pair.0).collect())?;
    let second = embed(Side::Document, pairs.iter().map(|pair| pair.1).collect())?;
    let (Some(first), Some(second)) = (first, second) else { return Ok(None) };
    let each = (0..pairs.len())
        .map(|row| similarity_of_pair(model.similarity(), first.row(row), second.row(row)));
    Ok(finite(each.collect()))
}

/// The pairs of rows of two texts and a label, of a text with lists of texts and labels, or of an
/// anchor, a positive and negatives.
fn pairs_of<'a>(rows: &'a Rows, chosen: Option<&[String]>) -> Option<Pairs<'a>> {
    let is_label = |name: &str| LABEL_COLUMNS.contains(&name);
    let columns = rows.columns();
    let label = columns.iter().find(|(name, _)| is_label(name)).map(|(_, values)| values);
    let texts: Vec<&Vec<Value>> = match chosen {
        Some(names) => {
            let column = |name| columns.iter().find(|(known, _)| known == name);
            names
                .iter()
                .map(|name| column(name).map(|(_, values)| values))
                .collect::<Option<_>>()?
        }
        None => {
            let texts = columns.iter().filter(|(name, _)| !is_label(name));
            texts.map(|(_, values)| values).collect()
        }
    };
    let [anchors, second, others @ ..] = texts.as_slice() else { return None };
    match (label, others) {
        (Some(labels), []) => labelled(anchors, second, labels),
        (Some(_), _) => None,
        (None, others) => unlabelled(anchors, second, others),
    }
}

fn labelled<'a>(
    anchors: &'a [Value],
    second: &'a [Value],
    labels: &'a [Value],
) -> Option<Pairs<'a>> {
    let mut found: Vec<(&str, &str, f64)> = Vec::new();
    for ((anchor, second), label) in anchors.iter().zip(second).zip(labels) {
        let anchor = anchor.as_text()?;
        match (second, label) {
            (Value::List(texts), Value::List(labels)) => {
                for (text, label) in texts.iter().zip(labels).take(TEXTS) {
                    found.push((anchor, text.as_text()?, label.as_number()?));
                }
            }
            (text, label) => found.push((anchor, text.as_text()?, label.as_number()?)),
        }
    }
    let labels = || found.iter().map(|(.., label)| *label);
    let (low, high) = (labels().fold(f64::MAX, f64::min), labels().fold(f64::MIN, f64::max));
    let middle = (low + high) / 2.0;
    Some(Pairs {
        rule: format!("texts with a label above {middle} count as relevant"),
        pairs: found.iter().map(|(a, b, _)| (*a, *b)).collect(),
        relevant: labels().map(|label| label > middle).collect(),
    })
}

fn unlabelled<'a>(
    anchors: &'a [Value],
    positives: &'a [Value],
    negatives: &[&'a Vec<Value>],
) -> Option<Pairs<'a>> {
    let mut pairs = Pairs::default();
    for (row, anchor) in anchors.iter().enumerate() {
        let anchor = anchor.as_text()?;
        pairs.pairs.push((anchor, positives[row].as_text()?));
        pairs.relevant.push(true);
        let own: Vec<&Value> = match negatives {
            [] => vec![&positives[(row + 1) % positives.len()]],
            columns => columns.iter().take(TEXTS).map(|column| &column[row]).collect(),
        };
        for negative in own {
            pairs.pairs.push((anchor, negative.as_text()?));
            pairs.relevant.push(false);
        }
    }
    pairs.rule = match negatives {
        [] => "the second text of the next row stands for an irrelevant one".to_owned(),
        _ => "the second text of a row is relevant, the texts behind it are not".to_owned(),
    };
    Some(pairs)
}
