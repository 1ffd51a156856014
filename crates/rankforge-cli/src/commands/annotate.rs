//! `rankforge annotate`: labels of a teacher for distillation.

use crate::console::Console;
use crate::dataset::{DatasetArgs, expect_no_file, expect_rows};
use crate::failure::CliError;
use crate::inference::{InferenceArgs, RerankerArgs, after_rows, printable};
use crate::interrupt::Graceful;
use crate::table::thousands;
use rankforge::Error;
use rankforge::base::quoted_list;
use rankforge::data::{Location, RowReader, RowWriter, Rows, Value};
use rankforge::encoder::{
    CrossEncoder, DualEncoder, EncodeOptions, ModelKind, OutputActivation, Outputs, PredictOptions,
};
use rankforge::training::LABEL_COLUMNS;
use std::path::PathBuf;

/// Number of rows that are read, annotated and written at a time.
const CHUNK: usize = 1024;

/// Annotate rows with the embeddings or scores of a teacher, for distillation
///
/// A dual encoder writes a list column with the embedding of a text column: `label` for the only
/// one or that of --column, else NAME_embedding for each, or with --nested-labels one `label` with
/// a list for each. MSELoss and EmbedDistillLoss compare with `label`. A reranker reads the first
/// text column as queries and writes its scores of the query with each further column: a number in
/// `label`, or a list of one number for each column. With a column of lists of texts, such as
/// mining writes as labeled-list, it is one number for each text. MSELoss, MarginMSELoss,
/// DistillKLDivLoss and the list-wise losses compare with them.
///
/// The other columns that are read stay as they are. Reads the rows in chunks, so the data set may
/// be larger than memory.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge annotate --model models/teacher --dataset texts.jsonl --columns text \\
      --output embeddings.parquet
  rankforge annotate --model models/teacher --dataset translations.parquet --column english \\
      --output embeddings.parquet
  rankforge annotate --model models/reranker --dataset mined.jsonl \\
      --columns query,answer,negative_1,negative_2 --activation-fn identity --output scores.jsonl
  rankforge annotate --model models/reranker --dataset lists.jsonl --columns query,answer \\
      --activation-fn identity --output list-scores.jsonl")]
pub(crate) struct AnnotateArgs {
    /// Directory of the teacher: a dual encoder or a reranker
    #[arg(long, value_name = "DIR")]
    model: PathBuf,

    #[command(flatten)]
    dataset: DatasetArgs,

    /// Only this text column is embedded; for a dual encoder [default: all text columns]
    #[arg(long, value_name = "NAME")]
    column: Option<String>,

    /// Write the embeddings of all text columns to `label`, as a list of lists; for a dual encoder
    #[arg(long, conflicts_with = "column")]
    nested_labels: bool,

    /// File for the annotated rows: .parquet or .jsonl; it must not exist
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Normalise the embeddings to unit length, after truncation by --truncate-dim
    #[arg(long)]
    normalize_embeddings: bool,

    /// Truncate the embeddings to the first N dimensions [default: the model's truncate_dim]
    #[arg(long, value_name = "N", value_parser = crate::inference::at_least_one)]
    truncate_dim: Option<usize>,

    /// Activation applied to a reranker's logits [default: the model's activation_fn]
    ///
    /// Its name in torch.nn, in any case: identity, sigmoid, tanh, relu, leakyrelu, elu, gelu,
    /// silu, softplus, logsigmoid, or softmax over several labels.
    #[arg(long, value_name = "NAME")]
    activation_fn: Option<OutputActivation>,

    #[command(flatten)]
    inference: InferenceArgs,
}

/// Runs the command.
///
/// # Errors
/// If the teacher or the rows cannot be read, the output exists or cannot be written, or the user
/// pressed Ctrl-C.
pub(crate) fn run(args: &AnnotateArgs, console: &Console) -> anyhow::Result<()> {
    check_output(args)?;
    let teacher = Teacher::open(args, console)?;
    let location = args.dataset.location();
    // Without it Ctrl-C would exit at once and leave the temporary file of the writer.
    let graceful = Graceful::begin();
    let mut writer = RowWriter::create(&args.output)?;
    let (mut count, mut names) = (0, Vec::new());
    for chunk in RowReader::open(&location, CHUNK)? {
        graceful.check()?;
        let rows = chunk?;
        let size = rows.len();
        let annotated =
            teacher.annotate(rows, &location).map_err(|error| after_rows(error, count))?;
        names = annotated.column_names().into_iter().map(str::to_owned).collect();
        writer.write(&annotated)?;
        count += size;
    }
    graceful.check()?;
    expect_rows(count, &location.path)?;
    writer.finish()?;
    let path = args.output.display();
    console.result(
        || format!("annotated {} rows ({}): {path}\n", thousands(count as u64), names.join(", ")),
        &serde_json::json!({
            "output": args.output.to_string_lossy(), "rows": count, "columns": names,
        }),
    )
}

/// Checks the file for the rows before the teacher works for hours.
fn check_output(args: &AnnotateArgs) -> anyhow::Result<()> {
    let path = &args.output;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    if !["parquet", "jsonl", "ndjson"].contains(&extension) {
        let message = format!("{}: expected a .parquet or .jsonl file", path.display());
        return Err(CliError::input(message).into());
    }
    Ok(expect_no_file(path)?)
}

/// The model that annotates, with the options of its calls.
enum Teacher {
    Embeds { model: DualEncoder, options: EncodeOptions, column: Option<String>, nested: bool },
    Scores { model: CrossEncoder, options: PredictOptions },
}

impl Teacher {
    fn open(args: &AnnotateArgs, console: &Console) -> anyhow::Result<Teacher> {
        let inference = &args.inference;
        match ModelKind::of_directory(&args.model)? {
            ModelKind::SentenceTransformer => {
                refuse("--activation-fn", args.activation_fn.is_some(), "a reranker")?;
                let model = inference.load_dual_encoder(&args.model, console)?;
                let options = EncodeOptions {
                    normalize_embeddings: args.normalize_embeddings,
                    truncate_dim: args.truncate_dim,
                    ..inference.encode_options(console)
                };
                let (column, nested) = (args.column.clone(), args.nested_labels);
                Ok(Teacher::Embeds { model, options, column, nested })
            }
            ModelKind::CrossEncoder => {
                refuse("--column", args.column.is_some(), "a dual encoder")?;
                refuse("--nested-labels", args.nested_labels, "a dual encoder")?;
                refuse("--truncate-dim", args.truncate_dim.is_some(), "a dual encoder")?;
                refuse("--normalize-embeddings", args.normalize_embeddings, "a dual encoder")?;
                let reranker = RerankerArgs {
                    model: args.model.clone(),
                    activation_fn: args.activation_fn,
                    inference: inference.clone(),
                };
                let model = reranker.load(console)?;
                let labels = model.num_labels();
                if labels != 1 {
                    let message = format!(
                        "{}: expected a reranker with one score, got {labels} labels",
                        args.model.display()
                    );
                    return Err(CliError::input(message).into());
                }
                Ok(Teacher::Scores { model, options: reranker.predict_options(console) })
            }
        }
    }

    /// The rows with the columns of the teacher appended.
    fn annotate(&self, rows: Rows, location: &Location) -> Result<Rows, Error> {
        let new = match self {
            Teacher::Embeds { model, options, column, nested } => {
                let columns = embeddings(model, &rows, column.as_deref(), options)?;
                if *nested { vec![(LABEL.to_owned(), by_row(columns))] } else { columns }
            }
            Teacher::Scores { model, options } => vec![scores(model, &rows, options)?],
        };
        let mut columns = rows.into_columns();
        for (name, values) in new {
            // Training would take the first of them for the label, and others for texts.
            let taken = columns.iter().find(|(known, _)| {
                *known == name || (name == LABEL && LABEL_COLUMNS.contains(&known.as_str()))
            });
            if let Some((taken, _)) = taken {
                let expected = format!(
                    "a data set without a column `{taken}`, as `{name}` is added (--columns \
                     chooses the columns that are kept)"
                );
                return Err(Error::argument("columns", expected, location.path.display()));
            }
            columns.push((name, values));
        }
        Ok(Rows::new(columns)?)
    }
}

/// Refuses a flag for the other kind of teacher.
fn refuse(flag: &str, given: bool, kind: &str) -> anyhow::Result<()> {
    if given {
        let message = format!("{flag}: only {kind} has it, and --model is none");
        return Err(CliError::usage(message).into());
    }
    Ok(())
}

/// A column of lists for each text column, or for the one that is named.
fn embeddings(
    model: &DualEncoder,
    rows: &Rows,
    column: Option<&str>,
    options: &EncodeOptions,
) -> Result<Vec<(String, Vec<Value>)>, Error> {
    let names = match column {
        Some(name) => vec![name],
        None => text_columns(rows),
    };
    if names.is_empty() {
        let found = quoted_list(rows.column_names());
        return Err(Error::argument("columns", "at least one column of texts", found));
    }
    let only = names.len() == 1;
    let embed = |name: &str| {
        let outputs = model.encode_with(&rows.texts(name)?, options)?;
        let name = if only { LABEL.to_owned() } else { format!("{name}_embedding") };
        Ok((name, lists(&outputs)))
    };
    names.into_iter().map(embed).collect()
}

/// The values of several columns as a list for each row.
fn by_row(columns: Vec<(String, Vec<Value>)>) -> Vec<Value> {
    let mut lists: Vec<Vec<Value>> = Vec::new();
    for (_, values) in columns {
        lists.resize(values.len(), Vec::new());
        lists.iter_mut().zip(values).for_each(|(list, value)| list.push(value));
    }
    lists.into_iter().map(Value::List).collect()
}

/// The column that losses compare with.
const LABEL: &str = "label";

/// The columns whose first value is a text.
fn text_columns(rows: &Rows) -> Vec<&str> {
    let texts = rows
        .columns()
        .iter()
        .filter(|(_, values)| values.first().and_then(Value::as_text).is_some());
    texts.map(|(name, _)| name.as_str()).collect()
}

fn lists(outputs: &Outputs) -> Vec<Value> {
    let list = |row| Value::List(outputs.row(row).iter().map(number).collect());
    (0..outputs.rows).map(list).collect()
}

fn number(value: &f32) -> Value {
    Value::Float(printable(*value))
}

/// The scores of the first text column with each further one, or with each text of a column of
/// lists.
fn scores(
    model: &CrossEncoder,
    rows: &Rows,
    options: &PredictOptions,
) -> Result<(String, Vec<Value>), Error> {
    if let Some((name, lists)) = rows.columns().iter().find(|(_, values)| holds_lists(values)) {
        return list_scores(model, rows, (name, lists), options);
    }
    let names = text_columns(rows);
    let [query, passages @ ..] = &names[..] else {
        return Err(Error::argument("columns", AT_LEAST_TWO, "none"));
    };
    if passages.is_empty() {
        return Err(Error::argument("columns", AT_LEAST_TWO, query));
    }
    let queries = rows.texts(query)?;
    let passages =
        passages.iter().map(|name| Ok(rows.texts(name)?)).collect::<Result<Vec<_>, Error>>()?;
    let pairs: Vec<(&str, &str)> = (0..rows.len())
        .flat_map(|row| passages.iter().map(move |texts| (row, texts[row])))
        .map(|(row, passage)| (queries[row], passage))
        .collect();
    let outputs = model.predict_with(&pairs, options)?;
    let values = match passages.len() {
        1 => outputs.values.iter().map(number).collect(),
        several => {
            let rows = outputs.values.chunks(several);
            rows.map(|row| Value::List(row.iter().map(number).collect())).collect()
        }
    };
    Ok((LABEL.to_owned(), values))
}

const AT_LEAST_TWO: &str = "at least two columns of texts, or one and a column of lists of texts";

/// Whether a column has a list of texts.
fn holds_lists(values: &[Value]) -> bool {
    values.iter().any(|value| match value {
        Value::List(texts) => texts.first().is_some_and(|text| text.as_text().is_some()),
        _ => false,
    })
}

/// A list of scores for each row: of its query with each text of its list.
fn list_scores(
    model: &CrossEncoder,
    rows: &Rows,
    (name, lists): (&String, &[Value]),
    options: &PredictOptions,
) -> Result<(String, Vec<Value>), Error> {
    let [query] = text_columns(rows)[..] else {
        let expected = "one column of texts beside that of lists";
        return Err(Error::argument("columns", expected, quoted_list(rows.column_names())));
    };
    let queries = rows.texts(query)?;
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut counts = Vec::new();
    for (row, (query, value)) in queries.into_iter().zip(lists).enumerate() {
        let texts = match value {
            Value::List(texts) => texts.iter().map(Value::as_text).collect(),
            _ => None,
        };
        let texts: Vec<&str> = texts.ok_or_else(|| {
            Error::cell("teacher", row, name, "a list of texts", value.describe())
        })?;
        counts.push(texts.len());
        pairs.extend(texts.into_iter().map(|text| (query, text)));
    }
    let outputs = model.predict_with(&pairs, options)?;
    let mut scores = outputs.values.iter().map(number);
    let lists = counts.into_iter().map(|count| Value::List(scores.by_ref().take(count).collect()));
    Ok((LABEL.to_owned(), lists.collect()))
}
