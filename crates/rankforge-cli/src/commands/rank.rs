//! `rankforge rank`: ranks documents for one query.

use crate::console::Console;
use crate::inference::{RerankerArgs, at_least_one, printable};
use crate::table::{Table, shortened};
use crate::texts::read_texts;
use serde_json::json;
use std::path::PathBuf;

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
    let documents = read_texts(&args.documents, args.column.as_deref(), "--column", "document")?;
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
