//! `rankforge export-index`: copies an index for other engines.

use crate::console::Console;
use crate::table::thousands;
use rankforge_index::{Index, export_npy, export_parquet};
use serde_json::json;
use std::path::PathBuf;

/// Copy an index for other engines, such as FAISS, LanceDB and Qdrant
///
/// The parquet file has the columns id, text, metadata (JSON) and vector (a list of fixed size).
/// npy writes a directory with vectors.npy, a float32 matrix, and rows.jsonl, whose line i has the
/// id, text and metadata of row i. Deleted texts are left out. Where the index compares by cosine,
/// the vectors are those of the model and may not have unit length.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge export-index --index docs.index --format parquet --output docs.parquet
  rankforge export-index --index docs.index --format npy --output docs-npy")]
pub(crate) struct ExportIndexArgs {
    /// Directory of the index
    #[arg(long, value_name = "DIR")]
    index: PathBuf,

    /// Format of the copy
    #[arg(long, value_name = "NAME", value_enum)]
    format: Format,

    /// File of the copy (parquet), or its directory (npy)
    #[arg(long, value_name = "PATH")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Format {
    /// One file with ids, texts, metadata and vectors
    Parquet,
    /// A directory with vectors.npy and rows.jsonl
    Npy,
}

/// Runs the command.
///
/// # Errors
/// If the index cannot be read, has no vectors where they are needed, or the output cannot be
/// written.
pub(crate) fn run(args: &ExportIndexArgs, console: &Console) -> anyhow::Result<()> {
    let index = Index::open(&args.index)?;
    let rows = match args.format {
        Format::Parquet => export_parquet(&index, &args.output, &*console.progress)?,
        Format::Npy => export_npy(&index, &args.output, &*console.progress)?,
    };
    let text = || format!("exported {} texts\n", thousands(rows as u64));
    console.result(text, &json!({ "rows": rows }))
}
