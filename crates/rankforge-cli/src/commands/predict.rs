//! `rankforge predict`: a score for each pair.

use crate::console::Console;
use crate::dataset::{SelectionArgs, roles};
use crate::failure::Mistake;
use crate::inference::{RerankerArgs, printable};
use crate::interrupt::Graceful;
use crate::table::thousands;
use rankforge::data::{RowReader, RowWriter, Rows, Value};
use rankforge::encoder::{CrossEncoder, Outputs, PredictOptions, Reporter};
use std::path::PathBuf;

/// Pairs in memory at a time; enough for batches of like length, little enough for any machine.
const CHUNK: usize = 4096;

/// Score pairs of texts with a reranker
///
/// Reads the pairs in pieces, so the input may be larger than memory. Writes the two text columns
/// and `score` (`scores` for models with several labels), in input order. Without --output the
/// rows go to standard output as JSON lines.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge predict --model models/reranker --input pairs.jsonl \\
      --columns query,answer --output scores.jsonl
  rankforge predict --model models/reranker --input pairs.parquet \\
      --columns query,answer --activation-fn identity --output logits.parquet
  rankforge predict --model models/reranker --input pairs.csv --limit 10")]
pub(crate) struct PredictArgs {
    #[command(flatten)]
    reranker: RerankerArgs,

    /// Pairs: a .jsonl, .csv, .tsv or .parquet file, or a folder of them
    #[arg(long, value_name = "PATH")]
    input: PathBuf,

    #[command(flatten)]
    selection: SelectionArgs,

    /// Scores: a .jsonl, .csv or .parquet file
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Softmax over the labels, for models with several
    #[arg(long)]
    apply_softmax: bool,
}

/// Runs the command.
///
/// # Errors
/// An unusable model or input, a full disk.
pub(crate) fn run(args: &PredictArgs, console: &Console) -> anyhow::Result<()> {
    let mut location = args.selection.location(args.input.clone());
    if let Some(columns) = &location.columns {
        roles(columns, &["first text", "second text"])?;
    }
    let options =
        PredictOptions { apply_softmax: args.apply_softmax, ..args.reranker.predict_options() };
    let model = args.reranker.load(console)?;
    let graceful = Graceful::begin();
    let mut writer = args.output.as_deref().map(RowWriter::create).transpose()?;
    let mut count = 0;
    // Asks for the file's columns once, then reads only the two that are scored.
    if location.columns.is_none() {
        location.columns = Some(first_two_columns(&location)?);
    }
    for chunk in RowReader::open(&location, CHUNK)? {
        graceful.check()?;
        let scored = score(&model, chunk?, &options, &*console.progress)?;
        count += scored.len();
        match &mut writer {
            Some(writer) => writer.write(&scored)?,
            None => console.print(&json_lines(&scored)?)?,
        }
    }
    graceful.check()?;
    if let (Some(writer), Some(output)) = (writer, &args.output) {
        writer.finish()?;
        console.result(
            || format!("{} pairs scored: {}\n", thousands(count as u64), output.display()),
            &serde_json::json!({ "output": output, "rows": count }),
        )?;
    }
    Ok(())
}

fn first_two_columns(location: &rankforge::data::Location) -> anyhow::Result<Vec<String>> {
    let first = RowReader::open(location, 1)?.next().transpose()?.unwrap_or_default();
    let names: Vec<String> = first.column_names().into_iter().map(str::to_owned).collect();
    if names.len() < 2 {
        return Err(Mistake::input(format!(
            "{}: expected at least two columns, got {}",
            location.path.display(),
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        ))
        .into());
    }
    Ok(names.into_iter().take(2).collect())
}

/// The rows with their scores beside them.
fn score(
    model: &CrossEncoder,
    rows: Rows,
    options: &PredictOptions,
    reporter: &dyn Reporter,
) -> anyhow::Result<Rows> {
    let names = rows.column_names();
    let (first, second) = (rows.texts(names[0])?, rows.texts(names[1])?);
    let pairs: Vec<(&str, &str)> = first.into_iter().zip(second).collect();
    let outputs = model.predict(&pairs, options, reporter)?;
    let mut columns = rows.columns().to_vec();
    columns.push(score_column(&outputs));
    Ok(Rows::new(columns)?)
}

fn score_column(outputs: &Outputs) -> (String, Vec<Value>) {
    let value = |score: &f32| Value::Float(printable(*score));
    if outputs.columns == 1 {
        ("score".to_owned(), outputs.values.iter().map(value).collect())
    } else {
        let list = |row| Value::List(outputs.row(row).iter().map(value).collect());
        ("scores".to_owned(), (0..outputs.rows).map(list).collect())
    }
}

fn json_lines(rows: &Rows) -> anyhow::Result<String> {
    let mut text = String::new();
    for row in 0..rows.len() {
        let cells = rows.columns().iter().map(|(name, values)| (name.clone(), json(&values[row])));
        let object: serde_json::Map<String, serde_json::Value> = cells.collect();
        text.push_str(&serde_json::to_string(&object)?);
        text.push('\n');
    }
    Ok(text)
}

/// A cell as JSON.
fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
        Value::List(values) => values.iter().map(json).collect(),
    }
}
