//! `rankforge data beir`: a BEIR folder made of files in other formats.

use crate::console::Console;
use crate::dataset::{expect_no_file, expect_rows};
use crate::failure::CliError;
use crate::interrupt::Graceful;
use crate::table::thousands;
use rankforge::base::{FileError, write_atomically};
use rankforge::data::{
    DataError, Judgement, Location, RowReader, RowWriter, Rows, Value, load_qrels,
};
use serde_json::json;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Number of rows that are read and written at a time.
const CHUNK: usize = 8192;

#[derive(Debug, clap::Args)]
pub(super) struct BeirArgs {
    /// Documents: a .jsonl, .csv, .tsv, .parquet or .arrow file
    #[arg(long, value_name = "PATH")]
    corpus: PathBuf,

    /// Columns of the documents: id and text, or id, title and text
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', default_value = "id,text")]
    corpus_columns: Vec<String>,

    /// Queries: a file like that of the documents
    #[arg(long, value_name = "PATH")]
    queries: PathBuf,

    /// Columns of the queries: id and text
    #[arg(long, value_name = "A,B", value_delimiter = ',', default_value = "id,text")]
    query_columns: Vec<String>,

    /// The .csv and .tsv files have no header row: their columns are those that are named
    #[arg(long)]
    no_header: bool,

    /// Judgements: query, iteration, document and grade in each line, or all but the iteration
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,

    /// Name of the judgements' split
    #[arg(long, value_name = "NAME", default_value = "test")]
    split: String,

    /// New directory
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
}

pub(super) fn run(args: &BeirArgs, console: &Console) -> anyhow::Result<()> {
    let folder = &args.output;
    expect_no_file(folder)?;
    let corpus_roles: &[&str] = match args.corpus_columns.len() {
        2 => &["_id", "text"],
        3 => &["_id", "title", "text"],
        count => return Err(wrong_columns("--corpus-columns", "2 or 3", count).into()),
    };
    if args.query_columns.len() != 2 {
        return Err(wrong_columns("--query-columns", "2", args.query_columns.len()).into());
    }
    let judgements = load_qrels(&args.qrels)?;
    std::fs::create_dir_all(folder.join("qrels")).map_err(FileError::io(folder))?;
    let graceful = Graceful::begin();
    let texts = |path: &Path, columns: &[String], roles: &[&str], name: &str| {
        copy(args, path, columns, roles, &folder.join(name), &graceful)
    };
    let written = texts(&args.corpus, &args.corpus_columns, corpus_roles, "corpus.jsonl").and_then(
        |documents| {
            let roles = &["_id", "text"];
            let queries = texts(&args.queries, &args.query_columns, roles, "queries.jsonl")?;
            let path = folder.join("qrels").join(format!("{}.tsv", args.split));
            write_atomically(&path, lines(&judgements).as_bytes())?;
            Ok([documents, queries])
        },
    );
    if written.is_err() {
        // Whatever it holds is of this command, as the directory was not there.
        let _ = std::fs::remove_dir_all(folder);
    }
    let [documents, queries] = written?;
    let count = |rows: usize| thousands(rows as u64);
    let (documents_text, queries_text) = (count(documents), count(queries));
    console.result(
        || {
            format!(
                "wrote {documents_text} documents, {queries_text} queries and {} judgements: {}\n",
                count(judgements.len()),
                folder.display()
            )
        },
        &json!({
            "output": folder.to_string_lossy(), "documents": documents, "queries": queries,
            "judgements": judgements.len(),
        }),
    )
}

fn wrong_columns(flag: &str, expected: &str, got: usize) -> CliError {
    CliError::usage(format!("{flag}: expected {expected} names, got {got}"))
}

/// Writes the columns of a file under the names of their roles; returns the number of rows.
fn copy(
    args: &BeirArgs,
    path: &Path,
    columns: &[String],
    roles: &[&str],
    output: &Path,
    graceful: &Graceful,
) -> anyhow::Result<usize> {
    let header = args.no_header.then(|| columns.to_vec());
    let location = Location { columns: Some(columns.to_vec()), header, ..Location::new(path) };
    let mut writer = RowWriter::create(output)?;
    let mut count = 0;
    for chunk in RowReader::open(&location, CHUNK)? {
        graceful.check()?;
        let rows = named(chunk?, roles).map_err(|error| error.after_rows(count))?;
        count += rows.len();
        writer.write(&rows)?;
    }
    expect_rows(count, path)?;
    writer.finish()?;
    Ok(count)
}

/// The rows under the names of their roles, with ids and texts as texts.
fn named(rows: Rows, roles: &[&str]) -> Result<Rows, DataError> {
    let names: Vec<String> = rows.column_names().into_iter().map(str::to_owned).collect();
    for name in &names[1..] {
        rows.texts(name)?;
    }
    let columns = roles.iter().zip(rows.into_columns()).map(|(role, (_, values))| {
        let text = |value: Value| match value {
            Value::Integer(number) => Value::Text(number.to_string()),
            value => value,
        };
        ((*role).to_owned(), values.into_iter().map(text).collect())
    });
    Rows::new(columns.collect())
}

/// The judgements as a file of BEIR.
fn lines(judgements: &[Judgement]) -> String {
    let mut text = "query-id\tcorpus-id\tscore\n".to_owned();
    for Judgement { query, document, grade } in judgements {
        writeln!(text, "{query}\t{document}\t{grade}").expect("a text takes every text");
    }
    text
}
