use crate::error::Error;
use crate::mining::options::OutputFormat;
use crate::mining::pairs::Pairs;
use crate::mining::search::{Found, FoundFor};
use crate::mining::settings::Settings;
use rankforge_data::{Rows, Value};
use rankforge_kernels::ops::Neighbour;
use std::ops::Range;

/// What the statistics are computed from.
pub(super) struct Scores {
    /// Number of rows if all negatives had been found.
    pub(super) maximum_possible: usize,
    /// Scores of the distinct (anchor, positive) pairs.
    pub(super) positive: Vec<f32>,
    /// Scores of the negatives, once for each positive that they were mined for.
    pub(super) negative: Vec<f32>,
    /// Positive minus negative score.
    pub(super) difference: Vec<f32>,
}

/// The rows of `queries` in the output format.
pub(super) fn emit(
    pairs: &Pairs<'_>,
    queries: Range<usize>,
    found: &Found,
    settings: &Settings,
) -> Result<Rows, Error> {
    rows(pairs, queries.map(|query| (query, found.of(query))), settings)
}

/// Rows with the columns and types of those of [`emit`], which may be none: the first text of the
/// corpus as each negative of the first query.
pub(super) fn example(pairs: &Pairs<'_>, settings: &Settings) -> Result<Rows, Error> {
    let positives = vec![0.0; pairs.positives[0].len()];
    let negatives = vec![Neighbour { index: 0, score: 0.0 }; settings.num_negatives];
    let found = FoundFor { positives: &positives, negatives: &negatives };
    rows(pairs, [(0, found)].into_iter(), settings)
}

fn rows<'a>(
    pairs: &Pairs<'_>,
    found: impl Iterator<Item = (usize, FoundFor<'a>)>,
    settings: &Settings,
) -> Result<Rows, Error> {
    Ok(Rows::new(match settings.output_format {
        OutputFormat::LabeledPair => labeled_pairs(pairs, found, settings),
        _ => one_row_for_each_positive(pairs, found, settings),
    })?)
}

/// The scores of positives and negatives.
pub(super) fn scores(pairs: &Pairs<'_>, found: &Found, settings: &Settings) -> Scores {
    let wanted = settings.num_negatives;
    let maximum_possible = match settings.output_format {
        OutputFormat::Triplet => pairs.count() * wanted,
        OutputFormat::LabeledPair => pairs.queries.len() * wanted + pairs.rows,
        OutputFormat::NTuple | OutputFormat::LabeledList => pairs.count(),
        OutputFormat::NTupleScores => unreachable!("an alias, resolved before"),
    };
    let (mut positive, mut negative, mut difference) = (Vec::new(), Vec::new(), Vec::new());
    for query in 0..found.len() {
        let found = found.of(query);
        positive.extend_from_slice(found.positives);
        if settings.output_format == OutputFormat::NTuple && found.negatives.len() < wanted {
            continue;
        }
        for score in found.positives {
            negative.extend(found.negatives.iter().map(|text| text.score));
            difference.extend(found.negatives.iter().map(|text| score - text.score));
        }
    }
    Scores { maximum_possible, positive, negative, difference }
}

type Column = (String, Vec<Value>);

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn score(score: f32) -> Value {
    Value::Float(f64::from(score))
}

fn labeled_pairs<'a>(
    pairs: &Pairs<'_>,
    found: impl Iterator<Item = (usize, FoundFor<'a>)>,
    settings: &Settings,
) -> Vec<Column> {
    let (mut anchors, mut texts, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for (query, found) in found {
        let positives = pairs.positives[query].iter().copied().zip(found.positives.iter().copied());
        let negatives = found.negatives.iter().map(|text| (text.index, text.score));
        let all = positives.map(|text| (text, 1)).chain(negatives.map(|text| (text, 0)));
        for ((index, number), label) in all {
            anchors.push(text(pairs.queries[query]));
            texts.push(text(pairs.corpus[index as usize]));
            labels.push(if settings.output_scores { score(number) } else { Value::Integer(label) });
        }
    }
    let label = if settings.output_scores { "score" } else { "label" };
    vec![
        (pairs.anchor_column.clone(), anchors),
        (pairs.positive_column.clone(), texts),
        (label.to_owned(), labels),
    ]
}

/// Rows of a positive and some or all of its negatives: triplets, n-tuples and labeled lists.
fn one_row_for_each_positive<'a>(
    pairs: &Pairs<'_>,
    found: impl Iterator<Item = (usize, FoundFor<'a>)>,
    settings: &Settings,
) -> Vec<Column> {
    let format = settings.output_format;
    let lists = format == OutputFormat::LabeledList;
    let negatives = match format {
        OutputFormat::NTuple => settings.num_negatives,
        OutputFormat::Triplet => 1,
        _ => 0,
    };
    let (mut anchors, mut positives) = (Vec::new(), Vec::new());
    let mut texts = vec![Vec::new(); negatives];
    let mut last = Vec::new();
    for (query, found) in found {
        let groups: Vec<_> = match format {
            OutputFormat::Triplet => found.negatives.chunks(1).collect(),
            OutputFormat::NTuple if found.negatives.len() < settings.num_negatives => Vec::new(),
            _ if found.negatives.is_empty() => Vec::new(),
            _ => vec![found.negatives],
        };
        for (positive, positive_score) in pairs.positives[query].iter().zip(found.positives) {
            for group in &groups {
                let negatives =
                    || group.iter().map(|found| text(pairs.corpus[found.index as usize]));
                let positive = text(pairs.corpus[*positive as usize]);
                anchors.push(text(pairs.queries[query]));
                if lists {
                    positives
                        .push(Value::List([positive].into_iter().chain(negatives()).collect()));
                } else {
                    positives.push(positive);
                    texts.iter_mut().zip(negatives()).for_each(|(column, text)| column.push(text));
                }
                let scores = group.iter().map(|text| score(text.score));
                let numbers: Vec<Value> = if settings.output_scores {
                    [score(*positive_score)].into_iter().chain(scores).collect()
                } else {
                    let labels = [1].into_iter().chain(group.iter().map(|_| 0));
                    labels.map(Value::Integer).collect()
                };
                last.push(Value::List(numbers));
            }
        }
    }
    let mut columns =
        vec![(pairs.anchor_column.clone(), anchors), (pairs.positive_column.clone(), positives)];
    for (index, column) in texts.into_iter().enumerate() {
        let name = match format {
            OutputFormat::Triplet => "negative".to_owned(),
            _ => format!("negative_{}", index + 1),
        };
        columns.push((name, column));
    }
    if settings.output_scores {
        columns.push(("scores".to_owned(), last));
    } else if lists {
        columns.push(("labels".to_owned(), last));
    }
    columns
}
