//! `rankforge paraphrase-mining`: finds the most similar pairs of texts of a file.

use crate::console::Console;
use crate::embedder::{EmbedderArgs, ScoreFunctionArgs};
use crate::inference::{at_least_one, printable};
use crate::table::{Table, shortened, thousands};
use crate::texts::read_texts;
use rankforge::data::{RowWriter, Rows, Value};
use rankforge::encoder::{Embed, Side};
use rankforge::util::{ParaphraseOptions, ParaphrasePair, paraphrase_mining};
use serde_json::json;
use std::path::PathBuf;

/// Maximum number of characters of a text in the table.
const SHOWN: usize = 60;

/// Find the most similar pairs of texts of a file, with a dual encoder
///
/// Texts are a column of a .jsonl, .csv, .tsv or .parquet file, or else the lines of any other file
/// or of a pipe. A pair is found if one of its texts is among the nearest of the other. Prints the
/// pairs, the most similar ones first, or writes them to --output.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge paraphrase-mining --model models/encoder --texts questions.txt --max-pairs 20
  rankforge paraphrase-mining --model models/encoder --texts questions.parquet \\
      --column question --top-k 10 --output pairs.csv")]
pub(crate) struct ParaphraseMiningArgs {
    /// Texts: a .jsonl, .csv, .tsv, .parquet or text file, or - for standard input
    #[arg(long, value_name = "FILE")]
    texts: PathBuf,

    /// Column with the texts [default: `text` if there is one, else the first]
    #[arg(long, value_name = "NAME")]
    column: Option<String>,

    /// Number of nearest texts of each text that can be its paraphrases
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = at_least_one)]
    top_k: usize,

    /// Maximum number of pairs
    #[arg(long, value_name = "N", default_value_t = 500_000, value_parser = at_least_one)]
    max_pairs: usize,

    /// Number of texts whose neighbours are searched at a time; limits memory use
    #[arg(long, value_name = "N", default_value_t = 5_000, value_parser = at_least_one)]
    query_chunk_size: usize,

    /// File for the pairs: .jsonl, .csv or .parquet [default: print them]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,

    #[command(flatten)]
    score_function: ScoreFunctionArgs,

    #[command(flatten)]
    embedder: EmbedderArgs,
}

/// Runs the command.
///
/// # Errors
/// If the texts or the model cannot be read, or the output cannot be written.
pub(crate) fn run(args: &ParaphraseMiningArgs, console: &Console) -> anyhow::Result<()> {
    let writer = args.output.as_deref().map(RowWriter::create).transpose()?;
    let texts = read_texts(&args.texts, args.column.as_deref(), "--column", "text")?;
    let embedder = args.embedder.load(console)?;
    let options = ParaphraseOptions {
        query_chunk_size: args.query_chunk_size,
        max_pairs: args.max_pairs,
        top_k: args.top_k,
        score_function: args.score_function.similarity(),
        reporter: console.progress.clone(),
    };
    let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embeddings = embedder.embed(Side::Text, &inputs)?;
    let pairs = paraphrase_mining(embedder.model.device(), &embeddings, &options)?;
    if let (Some(mut writer), Some(path)) = (writer, &args.output) {
        writer.write(&rows(&pairs, &texts)?)?;
        writer.finish()?;
        let count = thousands(pairs.len() as u64);
        let text = || format!("{count} pairs: {}\n", path.display());
        let json = json!({ "output": path.to_string_lossy(), "pairs": pairs.len() });
        return console.result(text, &json);
    }
    let text = || {
        let mut table = Table::new(&["score", "id1", "id2", "text1", "text2"]);
        for pair in &pairs {
            table.row([
                format!("{:.4}", pair.score),
                pair.first.to_string(),
                pair.second.to_string(),
                shortened(&texts[pair.first as usize], SHOWN),
                shortened(&texts[pair.second as usize], SHOWN),
            ]);
        }
        table.to_string()
    };
    let results = pairs.iter().map(|pair| {
        let (first, second) = (pair.first as usize, pair.second as usize);
        json!({
            "score": printable(pair.score),
            "id1": first,
            "id2": second,
            "text1": texts[first],
            "text2": texts[second],
        })
    });
    console.result(text, &results.collect::<Vec<_>>())
}

/// The pairs as rows of a file.
fn rows(pairs: &[ParaphrasePair], texts: &[String]) -> anyhow::Result<Rows> {
    let column = |name: &str, value: &dyn Fn(&ParaphrasePair) -> Value| {
        (name.to_owned(), pairs.iter().map(value).collect())
    };
    let text = |id: u32| Value::Text(texts[id as usize].clone());
    Ok(Rows::new(vec![
        column("score", &|pair| Value::Float(printable(pair.score))),
        column("id1", &|pair| Value::Integer(i64::from(pair.first))),
        column("id2", &|pair| Value::Integer(i64::from(pair.second))),
        column("text1", &|pair| text(pair.first)),
        column("text2", &|pair| text(pair.second)),
    ])?)
}
