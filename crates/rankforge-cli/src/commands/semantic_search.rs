//! `rankforge semantic-search`: finds the texts of a file that are nearest to queries.

use crate::console::Console;
use crate::embedder::{EmbedderArgs, ScoreFunctionArgs};
use crate::inference::{at_least_one, printable};
use crate::table::{Table, shortened};
use crate::texts::read_texts;
use rankforge::encoder::kernels::ops::Neighbour;
use rankforge::encoder::{Embed, Side};
use rankforge::util::{SemanticSearchOptions, merge_hits, semantic_search};
use serde_json::json;
use std::path::PathBuf;

/// Maximum number of characters of a text in the table.
const SHOWN: usize = 80;

/// Find the texts of a file that are nearest to queries, with a dual encoder
///
/// Embeds the texts and compares all of them with each query, exactly. Nothing is stored. Texts are
/// a column of a .jsonl, .csv, .tsv or .parquet file, or else the lines of any other file. The
/// table shortens them; --json prints them in full.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge semantic-search --model models/encoder --corpus passages.txt \\
      --query 'how tall is mount fuji'
  rankforge semantic-search --model models/encoder --corpus corpus.parquet --corpus-column text \\
      --queries queries.jsonl --queries-column query --top-k 5 --json")]
pub(crate) struct SemanticSearchArgs {
    /// Texts that are searched: a .jsonl, .csv, .tsv, .parquet or text file
    #[arg(long, value_name = "FILE")]
    corpus: PathBuf,

    /// Column of --corpus with the texts [default: `text` if there is one, else the first]
    #[arg(long, value_name = "NAME")]
    corpus_column: Option<String>,

    /// Query; may be given several times
    #[arg(long, value_name = "TEXT", required_unless_present = "queries")]
    query: Vec<String>,

    /// Queries: a .jsonl, .csv, .tsv, .parquet or text file, or - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    queries: Option<PathBuf>,

    /// Column of --queries with the texts [default: `text` if there is one, else the first]
    #[arg(long, value_name = "NAME", requires = "queries")]
    queries_column: Option<String>,

    /// Number of texts for each query
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    top_k: usize,

    /// Number of texts that are embedded and searched at a time; limits memory use
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = at_least_one)]
    corpus_chunk_size: usize,

    #[command(flatten)]
    score_function: ScoreFunctionArgs,

    #[command(flatten)]
    embedder: EmbedderArgs,
}

/// Runs the command.
///
/// # Errors
/// If the texts or the model cannot be read.
pub(crate) fn run(args: &SemanticSearchArgs, console: &Console) -> anyhow::Result<()> {
    let column = args.corpus_column.as_deref();
    let corpus = read_texts(&args.corpus, column, "--corpus-column", "text")?;
    let queries = match &args.queries {
        Some(path) => {
            read_texts(path, args.queries_column.as_deref(), "--queries-column", "query")?
        }
        None => args.query.clone(),
    };
    let hits = search(args, &queries, &corpus, console)?;
    let text = || {
        let mut table = Table::new(&["query", "rank", "score", "corpus_id", "text"]);
        for (query, hits) in queries.iter().zip(&hits) {
            for (rank, hit) in hits.iter().enumerate() {
                table.row([
                    shortened(query, SHOWN / 2),
                    (rank + 1).to_string(),
                    format!("{:.4}", hit.score),
                    hit.index.to_string(),
                    shortened(&corpus[hit.index as usize], SHOWN),
                ]);
            }
        }
        table.to_string()
    };
    let result = |hit: &Neighbour| {
        let text = &corpus[hit.index as usize];
        json!({ "corpus_id": hit.index, "score": printable(hit.score), "text": text })
    };
    let results = queries.iter().zip(&hits).map(|(query, hits)| {
        json!({ "query": query, "hits": hits.iter().map(result).collect::<Vec<_>>() })
    });
    console.result(text, &results.collect::<Vec<_>>())
}

/// The best texts of each query, best first.
fn search(
    args: &SemanticSearchArgs,
    queries: &[String],
    corpus: &[String],
    console: &Console,
) -> anyhow::Result<Vec<Vec<Neighbour>>> {
    let embedder = args.embedder.load(console)?;
    let options = SemanticSearchOptions {
        top_k: args.top_k,
        corpus_chunk_size: args.corpus_chunk_size,
        score_function: args.score_function.similarity(),
        reporter: console.progress.clone(),
    };
    let queries: Vec<&str> = queries.iter().map(String::as_str).collect();
    let queries = embedder.embed(Side::Query, &queries)?;
    let mut hits = vec![Vec::new(); queries.rows];
    let mut start = 0;
    for chunk in corpus.chunks(args.corpus_chunk_size) {
        let texts: Vec<&str> = chunk.iter().map(String::as_str).collect();
        let embedded = embedder.embed(Side::Document, &texts)?;
        let found = semantic_search(embedder.model.device(), &queries, &embedded, &options)?;
        merge_hits(&mut hits, found, start, args.top_k);
        start += chunk.len();
    }
    Ok(hits)
}
