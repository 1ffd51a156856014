//! `rankforge rank`: ranks documents for one query.

use crate::console::Console;
use crate::failure::CliError;
use crate::inference::{RerankerArgs, at_least_one, printable};
use crate::table::{Table, shortened};
use anyhow::Context;
use rankforge::data::load_texts;
use serde_json::json;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Maximum number of characters of a document in the table.
const SHOWN: usize = 100;

/// Rank documents for a query with a reranker
///
/// Documents are the lines of a .txt file, of a file without extension or of a pipe; or a column of
/// a .jsonl, .csv, .tsv or .parquet file. Prints the best documents with their scores and their
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

    /// Documents: a .txt, .jsonl, .csv, .tsv or .parquet file, or - for standard input
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

/// Whether a path holds lines of text: a .txt file, a file without extension, or a pipe, whose
/// extension means nothing (`/dev/stdin`, `<(...)`).
fn holds_lines(path: &Path) -> bool {
    match path.extension() {
        Some(extension) if extension.eq_ignore_ascii_case("txt") => true,
        Some(_) if path.is_file() => false,
        _ => path.exists() && !path.is_dir(),
    }
}

/// The documents of a file or of standard input; blank lines of text are skipped.
///
/// # Errors
/// If they cannot be read, there is none, or a column is given for lines of text.
fn read_documents(path: &Path, column: Option<&str>) -> anyhow::Result<Vec<String>> {
    let lines = |text: String| -> Vec<String> {
        text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
    };
    let is_standard_input = path.as_os_str() == "-";
    let is_text = holds_lines(path);
    if column.is_some() && (is_standard_input || is_text) {
        return Err(CliError::usage(
            "--column cannot be used with lines of text, which have no columns",
        )
        .into());
    }
    let documents = if is_standard_input {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        lines(text)
    } else if is_text {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the documents in {}", path.display()))?;
        lines(text)
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
