//! Mining on the golden table, on made-up vectors, and against the algorithm written out on full matrices.

mod edge_cases;
mod golden;
mod options;
mod oracle;

use crate::support::{TableEncoder, table, text};
use rankforge::data::{Rows, Value};
use rankforge::encoder::Silent;
use rankforge::evaluation::PairScorer;
use rankforge::mining::{Mined, MiningOptions, OutputFormat, mine_hard_negatives};

/// A table of query and answer.
fn pairs(pairs: &[(&str, &str)]) -> Rows {
    table(vec![
        ("query", pairs.iter().map(|pair| text(pair.0)).collect()),
        ("answer", pairs.iter().map(|pair| text(pair.1)).collect()),
    ])
}

/// Mines without a cross-encoder; `corpus` may be empty.
fn mine(
    rows: &Rows,
    encoder: &TableEncoder,
    options: &MiningOptions,
    corpus: &[String],
) -> Result<Mined, rankforge::Error> {
    mine_hard_negatives(rows, encoder, options, None, Some(corpus), &Silent)
}

/// Mines with a cross-encoder.
fn mine_rescored(
    rows: &Rows,
    encoder: &TableEncoder,
    options: &MiningOptions,
    corpus: &[String],
    model: &dyn PairScorer,
) -> Mined {
    mine_hard_negatives(rows, encoder, options, Some(model), Some(corpus), &Silent).unwrap()
}

/// Each row as text: cells divided by spaces, lists in brackets, floats with four decimals.
fn shown(rows: &Rows) -> Vec<String> {
    let cell = |(_, values): &(String, Vec<Value>), row: usize| show(&values[row]);
    (0..rows.len())
        .map(|row| {
            rows.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

fn show(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => format!("{number:.4}"),
        Value::List(values) => {
            format!("[{}]", values.iter().map(show).collect::<Vec<_>>().join(","))
        }
        other => panic!("mining emits no {other:?}"),
    }
}

fn n_tuples(num_negatives: i64) -> MiningOptions {
    MiningOptions { num_negatives, output_format: OutputFormat::NTuple, ..MiningOptions::default() }
}
