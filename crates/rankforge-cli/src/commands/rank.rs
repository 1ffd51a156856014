//! `rankforge rank`: ranks documents for one query.

use crate::console::Console;
use crate::failure::CliError;
use crate::inference::{RerankerArgs, at_least_one, printable};
use crate::table::{Table, shortened};
use anyhow::Context;
use rankforge::data::{has_known_extension, load_texts};
use serde_json::json;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Maximum number of characters of a document in the table.
const SHOWN: usize = 100;

/// Rank documents for a query with a reranker
///
/// Documents are a column of a .jsonl, .csv, .tsv or .parquet file, or else the lines of any other
/// file or of a pipe. Prints the best documents with their scores and their
/// positions in the input (corpus_id, from 0). The table shortens the texts; --json prints them in
/// full.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge rank --model models/reranker --query 'how tall is mount fuji' --documents passages.txt
  rankforge rank --model models/reranker --query 'how tall is mount fuji' \\
      --documents corpus.jsonl --column text --top-k 3
  cat passages.txt | rankforge rank --model models/reranker \\
      --query 'how tall is mount fuji' --documents - --json")]
pub(crate) struct RankArgs {
    /// Query
    #[arg(long, value_name = "TEXT")]
    query: String,

    /// Documents: a .jsonl, .csv, .tsv, .parquet or text file, or - for standard input
    #[arg(long, value_name = "FILE")]
    documents: PathBuf,

    /// Column with the documents [default: `text` if there is one, else the first]
    #[arg(long, value_name = "NAME")]
    column: Option<String>,

    /// Number of documents to print
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    top_k: usize,

    #[command(flatten)]
    reranker: RerankerArgs,
}

/// Runs the command.
///
/// # Errors
/// If the documents or the model cannot be read, or the model has several labels.
pub(crate) fn run(args: &RankArgs, console: &Console) -> anyhow::Result<()> {
    let documents = read_documents(&args.documents, args.column.as_deref())?;
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let model = args.reranker.load(console)?;
    let options = args.reranker.predict_options(console);
    let ranking = model.rank_with(&args.query, &documents, Some(args.top_k), &options)?;
    let text = || {
        let mut table = Table::new(&["rank", "score", "corpus_id", "text"]);
        for (rank, ranked) in ranking.iter().enumerate() {
            table.row([
                (rank + 1).to_string(),
                format!("{:.4}", ranked.score),
                ranked.corpus_id.to_string(),
                shortened(documents[ranked.corpus_id], SHOWN),
            ]);
        }
        table.to_string()
    };
    let results: Vec<_> = ranking
        .iter()
        .map(|ranked| {
            let (id, score) = (ranked.corpus_id, printable(ranked.score));
            json!({ "corpus_id": id, "score": score, "text": documents[id] })
        })
        .collect();
    console.result(text, &results)
}

/// Extensions of compressed files, whose bytes are not lines of text.
const COMPRESSED: [&str; 9] = ["gz", "tgz", "zst", "zip", "bz2", "xz", "lz4", "br", "7z"];

/// Whether a path holds lines of text: a file whose extension names no format, or a pipe, whose
/// extension means nothing (`/dev/stdin`, `<(...)`).
fn holds_lines(path: &Path) -> bool {
    let is_table = path.is_file() && has_known_extension(path);
    path.exists() && !path.is_dir() && !is_table
}

/// The lines of a text that are not blank. `name` is where it is from.
///
/// # Errors
/// If the text cannot be read, or is not UTF-8; the error names the line.
fn read_lines(input: impl Read, name: &str) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (index, bytes) in BufReader::new(input).split(b'\n').enumerate() {
        let bytes = bytes.with_context(|| format!("cannot read {name}"))?;
        let line = std::str::from_utf8(&bytes).map_err(|error| {
            let (line, byte) = (index + 1, error.valid_up_to() + 1);
            CliError::input(format!("{name}, line {line}: invalid UTF-8 at byte {byte}"))
                .hint("documents are lines of UTF-8 text, or a column of a data set")
        })?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if !line.trim().is_empty() {
            lines.push(line.to_owned());
        }
    }
    Ok(lines)
}

/// The documents of a file or of standard input; blank lines of text are skipped.
///
/// # Errors
/// If they cannot be read, there is none, the file is compressed, or a column is given for lines of
/// text.
fn read_documents(path: &Path, column: Option<&str>) -> anyhow::Result<Vec<String>> {
    let is_standard_input = path.as_os_str() == "-";
    let is_text = holds_lines(path);
    let is_compressed = path.extension().is_some_and(|extension| {
        COMPRESSED.iter().any(|compressed| extension.eq_ignore_ascii_case(compressed))
    });
    if is_compressed && path.is_file() {
        let message = format!("{}: compressed files are not read", path.display());
        return Err(CliError::input(message).hint("decompress the file first").into());
    }
    if column.is_some() && (is_standard_input || is_text) {
        return Err(CliError::usage(
            "--column cannot be used with lines of text, which have no columns",
        )
        .into());
    }
    let documents = if is_standard_input {
        read_lines(std::io::stdin().lock(), "standard input")?
    } else if is_text {
        let name = path.display().to_string();
        let file = File::open(path).with_context(|| format!("cannot read {name}"))?;
        read_lines(file, &name)?
    } else {
        load_texts(path, column)?
    };
    if documents.is_empty() {
        let name = if is_standard_input { "standard input".into() } else { path.to_string_lossy() };
        return Err(
            CliError::input(format!("{name}: expected at least one document, got none")).into()
        );
    }
    Ok(documents)
}
