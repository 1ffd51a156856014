//! `rankforge community-detection`: finds groups of similar texts of a file.

use crate::console::Console;
use crate::embedder::EmbedderArgs;
use crate::inference::at_least_one;
use crate::table::{Table, shortened};
use crate::texts::read_texts;
use rankforge::encoder::{Embed, Side};
use rankforge::util::{CommunityOptions, community_detection};
use serde_json::json;
use std::path::PathBuf;

/// Maximum number of characters of a text in the table.
const SHOWN: usize = 80;

/// Find groups of similar texts of a file, with a dual encoder
///
/// Texts are a column of a .jsonl, .csv, .tsv or .parquet file, or else the lines of any other file
/// or of a pipe. All texts of a community are near its first one, its centre; no text is in two of
/// them. Prints the largest communities first; a text is given by its position in the input (id,
/// from 0).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge community-detection --model models/encoder --texts questions.txt
  rankforge community-detection --model models/encoder --texts questions.parquet \\
      --column question --threshold 0.8 --min-community-size 25 --json")]
pub(crate) struct CommunityDetectionArgs {
    /// Texts: a .jsonl, .csv, .tsv, .parquet or text file, or - for standard input
    #[arg(long, value_name = "FILE")]
    texts: PathBuf,

    /// Column with the texts [default: `text` if there is one, else the first]
    #[arg(long, value_name = "NAME")]
    column: Option<String>,

    /// Least cosine of a text with the centre of its community
    #[arg(long, value_name = "COSINE", default_value_t = 0.75)]
    threshold: f32,

    /// Least number of texts of a community
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    min_community_size: usize,

    #[command(flatten)]
    embedder: EmbedderArgs,
}

/// Runs the command.
///
/// # Errors
/// If the texts or the model cannot be read.
pub(crate) fn run(args: &CommunityDetectionArgs, console: &Console) -> anyhow::Result<()> {
    let texts = read_texts(&args.texts, args.column.as_deref(), "--column", "text")?;
    let embedder = args.embedder.load(console)?;
    let options = CommunityOptions {
        threshold: args.threshold,
        min_community_size: args.min_community_size,
        reporter: console.progress.clone(),
        ..CommunityOptions::default()
    };
    let inputs: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embeddings = embedder.embed(Side::Text, &inputs)?;
    let communities = community_detection(embedder.model.device(), &embeddings, &options)?;
    let text = || {
        let mut table = Table::new(&["community", "size", "id", "text"]);
        for (number, members) in communities.iter().enumerate() {
            for member in members {
                table.row([
                    (number + 1).to_string(),
                    members.len().to_string(),
                    member.to_string(),
                    shortened(&texts[*member as usize], SHOWN),
                ]);
            }
        }
        table.to_string()
    };
    let member = |id: &u32| json!({ "id": id, "text": texts[*id as usize] });
    let results = communities.iter().map(|members| members.iter().map(member).collect::<Vec<_>>());
    console.result(text, &results.collect::<Vec<_>>())
}
