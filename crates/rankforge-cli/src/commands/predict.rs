//! `rankforge predict`: scores pairs of texts.

use crate::console::Console;
use crate::dataset::{SelectionArgs, roles};
use crate::failure::CliError;
use crate::inference::{RerankerArgs, after_rows, printable};
use crate::interrupt::Graceful;
use crate::table::thousands;
use rankforge::Error;
use rankforge::data::{Location, RowReader, RowWriter, Rows, Value};
use rankforge::encoder::{CrossEncoder, Outputs, PredictOptions};
use std::path::PathBuf;

/// Number of pairs that are read, scored and written at a time: enough to sort them into batches of
/// similar length, and small beside a model.
const CHUNK: usize = 4096;

/// Score pairs of texts with a reranker
///
/// Writes the two text columns and a column `score` (`scores`, a list, if the model has several
/// labels), in the order of the input. Without --output the rows go to standard output as JSON
/// lines. Reads the pairs in chunks, so the input may be larger than memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge predict --model models/reranker --input pairs.jsonl \\
      --columns query,answer --output scores.jsonl
  rankforge predict --model models/reranker --input pairs.parquet \\
      --columns query,answer --activation-fn identity --output logits.parquet
  rankforge predict --model models/reranker --input pairs.csv --limit 10")]
pub(crate) struct PredictArgs {
    /// Pairs: a .jsonl, .csv, .tsv, .parquet or .arrow file, or a directory of such files
    ///
    /// The two texts are the first two columns, or those named by --columns.
    #[arg(long, value_name = "PATH")]
    input: PathBuf,

    #[command(flatten)]
    selection: SelectionArgs,

    /// File for the scores: .jsonl, .csv or .parquet [default: standard output]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Apply softmax over the labels; for a model with several labels
    #[arg(long)]
    apply_softmax: bool,

    #[command(flatten)]
    reranker: RerankerArgs,
}

/// Runs the command.
///
/// # Errors
/// If the model or the input cannot be read, the output cannot be written, or the user pressed
/// Ctrl-C.
pub(crate) fn run(args: &PredictArgs, console: &Console) -> anyhow::Result<()> {
    let mut location = args.selection.location(args.input.clone());
    if let Some(columns) = &location.columns {
        roles(columns, &["first text", "second text"])?;
    }
    let options = PredictOptions {
        apply_softmax: args.apply_softmax,
        ..args.reranker.predict_options(console)
    };
    let model = args.reranker.load(console)?;
    let graceful = Graceful::begin();
    let mut writer = args.output.as_deref().map(RowWriter::create).transpose()?;
    let mut count = 0;
    // Reads rows to learn the names of the columns, then only the two columns that are scored.
    if location.columns.is_none() {
        location.columns = first_two_columns(&location)?;
    }
    for chunk in RowReader::open(&location, CHUNK)? {
        graceful.check()?;
        let scored = score(&model, chunk?, &options).map_err(|error| after_rows(error, count))?;
        count += scored.len();
        match &mut writer {
            Some(writer) => writer.write(&scored)?,
            None => console.print_json_text(&json_lines(&scored)?)?,
        }
    }
    if let (Some(writer), Some(columns), 0) = (&mut writer, &location.columns, count) {
        writer.begin(&example(columns, model.num_labels())?)?;
    }
    graceful.check()?;
    if let (Some(writer), Some(output)) = (writer, &args.output) {
        writer.finish()?;
        console.result(
            || format!("scored {} pairs: {}\n", thousands(count as u64), output.display()),
            &serde_json::json!({ "output": output.to_string_lossy(), "rows": count }),
        )?;
    }
    Ok(())
}

/// The names of the first two columns; `None` if there is no row to name them.
///
/// # Errors
/// If the data set cannot be read or has fewer columns.
fn first_two_columns(location: &Location) -> anyhow::Result<Option<Vec<String>>> {
    let mut reader = RowReader::open(location, CHUNK)?;
    while reader.column_names().len() < 2
        && let Some(chunk) = reader.next()
    {
        chunk?;
    }
    match reader.column_names()[..] {
        [] => Ok(None),
        [first, second, ..] => Ok(Some(vec![first.to_owned(), second.to_owned()])),
        [only] => {
            let path = location.path.display();
            let message = format!("{path}: expected at least two columns, got only `{only}`");
            Err(CliError::input(message).into())
        }
    }
}

/// A row with the columns and types of the output.
fn example(columns: &[String], labels: usize) -> anyhow::Result<Rows> {
    let text = |name: &String| (name.clone(), vec![Value::Text(String::new())]);
    let outputs = Outputs { rows: 1, columns: labels, values: vec![0.0; labels] };
    let scores = score_column(&outputs);
    Ok(Rows::new(columns.iter().map(text).chain([scores]).collect())?)
}

/// The rows with a column of scores appended.
fn score(model: &CrossEncoder, rows: Rows, options: &PredictOptions) -> Result<Rows, Error> {
    let names = rows.column_names();
    let (first, second) = (rows.texts(names[0])?, rows.texts(names[1])?);
    let pairs: Vec<(&str, &str)> = first.into_iter().zip(second).collect();
    let outputs = model.predict_with(&pairs, options)?;
    let mut columns = rows.into_columns();
    columns.push(score_column(&outputs));
    Ok(Rows::new(columns)?)
}

/// The column `score` of numbers, or `scores` of lists if the model has several labels.
fn score_column(outputs: &Outputs) -> (String, Vec<Value>) {
    let value = |score: &f32| Value::Float(printable(*score));
    if outputs.columns == 1 {
        ("score".to_owned(), outputs.values.iter().map(value).collect())
    } else {
        let list = |row| Value::List(outputs.row(row).iter().map(value).collect());
        ("scores".to_owned(), (0..outputs.rows).map(list).collect())
    }
}

/// The rows as JSON lines.
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
        Value::Null | Value::Unreadable(_) => serde_json::Value::Null,
        Value::Text(text) | Value::Untyped(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
        Value::List(values) => values.iter().map(json).collect(),
    }
}
