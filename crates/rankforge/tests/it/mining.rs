//! Mining of hard negatives: golden values, edge cases, and a comparison with a reference
//! implementation on full matrices.

mod cache;
mod edge_cases;
mod golden;
mod options;
mod oracle;

use crate::support::{Recorder, TableEncoder, table, text};
use rankforge::data::{Rows, Value};
use rankforge::encoder::Score;
use rankforge::mining::{HardNegativeMiner, Mined, MiningOptions, OutputFormat};
use std::sync::Arc;

/// A table with the columns `query` and `answer`.
fn pairs(pairs: &[(&str, &str)]) -> Rows {
    table(vec![
        ("query", pairs.iter().map(|pair| text(pair.0)).collect()),
        ("answer", pairs.iter().map(|pair| text(pair.1)).collect()),
    ])
}

/// A miner with these options and a corpus, which may be empty.
fn miner<'a>(
    encoder: &'a TableEncoder,
    options: &MiningOptions,
    corpus: &'a [String],
) -> HardNegativeMiner<'a> {
    let (options, corpus) = (options.clone(), Some(corpus));
    HardNegativeMiner { options, corpus, ..HardNegativeMiner::new(encoder) }
}

/// Mines without a cross-encoder.
fn mine(
    rows: &Rows,
    encoder: &TableEncoder,
    options: &MiningOptions,
    corpus: &[String],
) -> Result<Mined, rankforge::Error> {
    miner(encoder, options, corpus).mine(rows)
}

/// Mines with a cross-encoder.
fn mine_rescored(
    rows: &Rows,
    encoder: &TableEncoder,
    options: &MiningOptions,
    corpus: &[String],
    model: &dyn Score,
) -> Mined {
    let miner = miner(encoder, options, corpus);
    HardNegativeMiner { cross_encoder: Some(model), ..miner }.mine(rows).unwrap()
}

/// Mines, and records messages and warnings.
fn mine_recorded(
    rows: &Rows,
    encoder: &TableEncoder,
    options: &MiningOptions,
    corpus: &[String],
) -> (Mined, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let miner = miner(encoder, options, corpus);
    let miner = HardNegativeMiner { reporter: recorder.clone(), ..miner };
    (miner.mine(rows).unwrap(), recorder)
}

/// Each row as text: cells separated by spaces, lists in brackets, floats with four decimals.
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
        other => panic!("mining must not emit {other:?}"),
    }
}

fn n_tuples(num_negatives: i64) -> MiningOptions {
    MiningOptions { num_negatives, output_format: OutputFormat::NTuple, ..MiningOptions::default() }
}
