//! Compares mining, which searches in blocks, with a reference implementation on full matrices, in
//! which dropped candidates have a score of negative infinity.

use super::{mine, mine_rescored, shown};
use crate::support::{TableEncoder, scorer, table, text};
use rankforge::mining::{MiningOptions, OutputFormat};

/// A pseudorandom number in -1..1, determined by `index`.
fn number(index: usize) -> f32 {
    (((index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f32 / (1u64 << 23) as f32)
        - 1.0
}

fn vector(index: usize) -> Vec<f32> {
    let values: Vec<f32> = (0..5).map(|column| number(index * 5 + column)).collect();
    let length = values.iter().map(|value| value * value).sum::<f32>().sqrt();
    values.iter().map(|value| value / length).collect()
}

const QUERIES: usize = 24;
const TEXTS: usize = 70;

fn query(index: usize) -> Vec<f32> {
    vector(1000 + index)
}

fn similarity(query: &[f32], text: &[f32]) -> f32 {
    query.iter().zip(text).map(|(a, b)| a * b).sum()
}

/// The score of an artificial cross-encoder, which is unrelated to the cosine.
fn cross_score(query: usize, text: usize) -> f32 {
    3.0 * number(7 * query + 131 * text)
}

/// Query and text of each row. Some queries have several texts, and one row occurs twice.
fn rows() -> Vec<(usize, usize)> {
    let mut rows: Vec<(usize, usize)> = (0..QUERIES).map(|query| (query, 2 * query)).collect();
    rows.extend((0..QUERIES).step_by(3).map(|query| (query, 2 * query + 1)));
    rows.push((5, 10));
    rows
}

/// The negatives of each query by the reference implementation.
fn expected(options: &MiningOptions, rescored: bool) -> Vec<Vec<usize>> {
    let rows = rows();
    let most =
        (0..QUERIES).map(|query| rows.iter().filter(|row| row.0 == query).count()).max().unwrap();
    let range_max = options.range_max.unwrap() as usize;
    let width = range_max + most;
    (0..QUERIES)
        .map(|number| {
            let mut scores: Vec<(f32, Option<usize>)> = (0..TEXTS)
                .map(|text| (similarity(&query(number), &vector(text)), Some(text)))
                .collect();
            let by_score = |a: &(f32, Option<usize>), b: &(f32, Option<usize>)| b.0.total_cmp(&a.0);
            scores.sort_by(by_score);
            scores.resize(width.max(scores.len()), (f32::NEG_INFINITY, None));
            scores.truncate(width);
            let own: Vec<usize> =
                rows.iter().filter(|row| row.0 == number).map(|row| row.1).collect();
            let score = |text: usize| match rescored {
                true => cross_score(number, text),
                false => similarity(&query(number), &vector(text)),
            };
            let weakest = own.iter().map(|text| score(*text)).fold(f32::INFINITY, f32::min);
            for (value, text) in &mut scores {
                *value = match text {
                    Some(text) if !options.include_positives && own.contains(text) => {
                        f32::NEG_INFINITY
                    }
                    Some(text) => score(*text),
                    None => f32::NEG_INFINITY,
                };
                let dropped = options.absolute_margin.is_some_and(|m| *value + m as f32 > weakest)
                    || options
                        .relative_margin
                        .is_some_and(|m| *value > weakest - weakest.abs() * m as f32)
                    || options.max_score.is_some_and(|bound| *value > bound as f32)
                    || options.min_score.is_some_and(|bound| *value < bound as f32);
                if dropped {
                    *value = f32::NEG_INFINITY;
                }
            }
            scores.sort_by(by_score);
            let window = &scores[options.range_min as usize..range_max];
            window[..options.num_negatives as usize]
                .iter()
                .filter(|(value, _)| *value != f32::NEG_INFINITY)
                .map(|(_, text)| text.unwrap())
                .collect()
        })
        .collect()
}

#[test]
fn mining_agrees_with_the_reference_on_full_matrices() {
    let encoder = TableEncoder::new(
        (0..TEXTS)
            .map(|index| (format!("d{index}"), vector(index)))
            .chain((0..QUERIES).map(|index| (format!("q{index}"), query(index)))),
    );
    let corpus: Vec<String> = (0..TEXTS).map(|index| format!("d{index}")).collect();
    let table = table(vec![
        ("query", rows().iter().map(|row| text(&format!("q{}", row.0))).collect()),
        ("answer", rows().iter().map(|row| text(&format!("d{}", row.1))).collect()),
    ]);
    let index = |text: &str| text[1..].parse::<usize>().unwrap();
    let model = scorer(|query, text| cross_score(index(query), index(text)));
    let choice = |bit: usize, value: f64, case: usize| (case >> bit & 1 == 1).then_some(value);
    let (mut complete, mut partial) = (0, 0);
    for case in 0..256 {
        let include_positives = case >> 7 & 1 == 1;
        let options = MiningOptions {
            range_min: [0, 2][case >> 1 & 1],
            range_max: Some([9, 90][case >> 2 & 1]),
            absolute_margin: choice(3, 0.2, case),
            relative_margin: choice(4, 0.1, case),
            max_score: choice(5, 0.6, case),
            min_score: choice(6, -0.3, case),
            include_positives,
            output_format: OutputFormat::LabeledList,
            num_negatives: 3,
            ..MiningOptions::default()
        };
        let rescored = case & 1 == 1 && case >> 3 & 15 != 0;
        let mined = if rescored {
            mine_rescored(&table, &encoder, &options, &corpus, &model)
        } else {
            mine(&table, &encoder, &options, &corpus).unwrap()
        };
        let mut lines = Vec::new();
        for (query, negatives) in expected(&options, rescored).iter().enumerate() {
            let least = if include_positives { 3 } else { 1 };
            match negatives.len() {
                3 => complete += 1,
                _ => partial += 1,
            }
            if negatives.len() < least {
                continue;
            }
            let mut own: Vec<usize> =
                rows().iter().filter(|row| row.0 == query).map(|row| row.1).collect();
            own.dedup();
            for positive in own {
                let names: Vec<String> = negatives.iter().map(|text| format!("d{text}")).collect();
                lines.push(if include_positives {
                    format!("q{query} d{positive} {}", names.join(" "))
                } else {
                    let labels = ",0".repeat(names.len());
                    format!("q{query} [d{positive},{}] [1{labels}]", names.join(","))
                });
            }
        }
        assert_eq!(shown(&mined.rows), lines, "{options:?}");
    }
    assert!(
        complete > 1000 && partial > 1000,
        "complete and partial results must both occur: {complete}, {partial}"
    );
}
