//! `rankforge index`: builds an index of texts, and changes it.

use crate::console::Console;
use crate::dataset::SelectionArgs;
use crate::failure::CliError;
use crate::index_model::stored_load_options;
use crate::inference::{InferenceArgs, at_least_one};
use crate::interrupt;
use crate::lines::read_lines;
use crate::table::thousands;
use rankforge::encoder::{DualEncoder, EncodeOptions, LoadOptions, Model, TextModel};
use rankforge_index::bm25::{Language, UnknownLanguage};
use rankforge_index::{
    BuildOptions, BuildReport, Compacted, CorpusSource, Embedder, Index, ModelEntry, Store,
    UnknownStore, append_to_index, build_index, compact_index, delete_from_index,
};
use serde_json::json;
use std::path::{Path, PathBuf};

/// Index texts for search: as vectors of a dual encoder, by their words (BM25), or both
///
/// Texts are those of a BEIR folder (title and text joined by a space), or a column of a .jsonl,
/// .csv, .tsv or .parquet file; other columns are kept and shown with the results. All ids and
/// texts are checked before the first is embedded.
///
/// A run that was interrupted is continued by the same command. Until an append is complete,
/// searches find the index as it was.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge index --model models/encoder --bm25 --dataset beir-folder --output docs.index
  rankforge index --bm25 --dataset docs.csv --id-column key --text-column body --output docs.index
  rankforge index --append --dataset more.jsonl --output docs.index
  rankforge index --delete doc7,doc9 --output docs.index
  rankforge index --compact --output docs.index
  rankforge index --verify --output docs.index")]
#[command(override_usage = "\
rankforge index [OPTIONS] --output <DIR> --dataset <PATH>
       rankforge index [OPTIONS] --output <DIR> --append --dataset <PATH>
       rankforge index --output <DIR> <--delete <ID,...>|--delete-from <FILE>|--compact|--verify>")]
#[command(group = clap::ArgGroup::new("action").required(true).args(
    ["dataset", "delete", "delete_from", "compact", "verify"]
))]
pub(crate) struct IndexArgs {
    /// Directory of the index
    #[arg(long, value_name = "DIR")]
    output: PathBuf,

    /// Texts: a BEIR folder, a .jsonl, .csv, .tsv or .parquet file, or a directory of such files
    #[arg(long, value_name = "PATH")]
    dataset: Option<PathBuf>,

    #[command(flatten)]
    columns: ColumnArgs,

    /// Directory of the dual encoder that embeds the texts [default: none, for BM25 alone]
    #[arg(long, value_name = "DIR", requires = "dataset")]
    model: Option<PathBuf>,

    /// How vectors are stored: f32, f16 or int8
    ///
    /// Searches give the exact scores of the stored vectors. f16 and int8 round them, and take 0.6
    /// and 0.2 of the space.
    #[arg(long, value_name = "NAME", default_value = "f32", value_parser = store)]
    #[arg(requires = "model")]
    store: Store,

    /// Index the words too, for search by BM25
    #[arg(long, requires = "dataset")]
    bm25: bool,

    /// Language of the words: english, none, or another one that has a Snowball stemmer
    #[arg(long, value_name = "NAME", default_value = "english", value_parser = language)]
    #[arg(requires = "bm25")]
    language: Language,

    /// Append the texts to the index, with its model and settings
    #[arg(long, requires = "dataset", conflicts_with_all = [
        "store", "bm25", "language", "normalize_embeddings", "truncate_dim", "max_length",
        "prompt", "prompt_name", "precision",
    ])]
    append: bool,

    /// Begin again, if an earlier run was interrupted, instead of continuing it
    #[arg(long)]
    restart: bool,

    /// Delete the texts with these ids, separated by commas
    #[arg(long, value_name = "ID,...", value_delimiter = ',')]
    #[arg(conflicts_with_all = OF_TEXTS)]
    delete: Option<Vec<String>>,

    /// Delete the texts whose ids are the lines of a file; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_TEXTS)]
    delete_from: Option<PathBuf>,

    /// Rewrite the index without its deleted texts and their words
    ///
    /// Nothing is embedded again. The new files take the place of the old ones when they are
    /// complete; both are on the disk until then.
    #[arg(long, conflicts_with_all = OF_TEXTS)]
    compact: bool,

    /// Compare all files of the index with their checksums
    #[arg(long, conflicts_with_all = OF_TEXTS, conflicts_with = "restart")]
    verify: bool,

    /// Normalise the vectors to unit length, after truncation by --truncate-dim
    #[arg(long, requires = "model")]
    normalize_embeddings: bool,

    /// Truncate the vectors to the first N dimensions [default: the model's truncate_dim]
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "model")]
    truncate_dim: Option<usize>,

    #[command(flatten)]
    inference: InferenceArgs,
}

/// Flags that have an effect only where texts are indexed.
const OF_TEXTS: [&str; 18] = [
    "model",
    "store",
    "bm25",
    "language",
    "append",
    "id_column",
    "text_column",
    "title_column",
    "normalize_embeddings",
    "truncate_dim",
    "batch_size",
    "max_tokens",
    "max_length",
    "prompt",
    "prompt_name",
    "precision",
    "split",
    "limit",
];

/// Which columns have what, and the rows to read.
#[derive(Clone, Debug, clap::Args)]
struct ColumnArgs {
    /// Column with the ids, texts or whole numbers [default: `_id`, or else `id`]
    #[arg(long, value_name = "NAME", requires = "dataset")]
    id_column: Option<String>,

    /// Column with the texts [default: `text`]
    #[arg(long, value_name = "NAME", requires = "dataset")]
    text_column: Option<String>,

    /// Column with titles, to stand before the texts [default: `title` in a BEIR folder, or none]
    #[arg(long, value_name = "NAME", requires = "dataset")]
    title_column: Option<String>,

    /// Split of a data set directory, e.g. train or test [default: train, or the only split]
    #[arg(long, value_name = "NAME", requires = "dataset")]
    split: Option<String>,

    /// Read only the first N rows [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "dataset")]
    limit: Option<usize>,
}

/// Runs the command.
///
/// # Errors
/// If the texts, the model or the index cannot be read, an id or a text is missing or occurs twice,
/// the index cannot be written, or the user pressed Ctrl-C.
pub(crate) fn run(args: &IndexArgs, console: &Console) -> anyhow::Result<()> {
    match &args.dataset {
        Some(dataset) if args.append => append(args, dataset, console),
        Some(dataset) => build(args, dataset, console),
        None if args.verify => {
            let index = Index::open(&args.output)?;
            index.verify(&*console.progress)?;
            let bytes = index.manifest().bytes();
            let text = || format!("{} bytes are what they were\n", thousands(bytes));
            console.result(text, &json!({ "bytes": bytes }))
        }
        None if args.compact => compact(args, console),
        None => delete(args, console),
    }
}

fn build(args: &IndexArgs, dataset: &Path, console: &Console) -> anyhow::Result<()> {
    if args.model.is_none() && !args.bm25 {
        let message = "expected --model, --bm25, or both: without them nothing could be found";
        return Err(CliError::usage(message).into());
    }
    let inference = &args.inference;
    let of_model = inference.max_length.is_some()
        || inference.prompt.is_some()
        || inference.prompt_name.is_some()
        || inference.batch_size.is_some();
    if args.model.is_none() && of_model {
        return Err(CliError::usage("inference options have no effect without --model").into());
    }
    let load = LoadOptions {
        max_length: args.inference.max_length,
        precision: args.inference.precision.precision,
        ..console.load_options()?
    };
    let entry = args.model.as_ref().map(|path| ModelEntry {
        path: path.canonicalize().unwrap_or_else(|_| path.clone()),
        max_length: args.inference.max_length,
        precision: args.inference.precision.precision.to_string(),
    });
    let encode = EncodeOptions {
        prompt: args.inference.prompt.clone(),
        prompt_name: args.inference.prompt_name.clone(),
        normalize_embeddings: args.normalize_embeddings,
        truncate_dim: args.truncate_dim,
        ..batches(args)
    };
    let model = args.model.as_ref().map(|path| DualEncoder::open_with(path, &load)).transpose()?;
    if let Some(model) = &model {
        report_precision(args, model.model(), console)?;
    }
    let embedder = model.as_ref().zip(entry);
    let embedder = embedder.map(|(model, entry)| embedder_of(model, entry, encode));
    let options = options(args, load, console)?;
    let report = build_index(&args.output, &corpus(args, dataset), embedder.as_ref(), &options)?;
    print(&report, console)
}

fn append(args: &IndexArgs, dataset: &Path, console: &Console) -> anyhow::Result<()> {
    let manifest = Index::open(&args.output)?.manifest().clone();
    let Some(entry) = &manifest.vectors else {
        if args.model.is_some() {
            let message = "--model: the index has no vectors";
            return Err(CliError::usage(message).hint("remove --model").into());
        }
        let options = options(args, console.load_options()?, console)?;
        let report = append_to_index(&args.output, &corpus(args, dataset), None, &options)?;
        return print(&report, console);
    };
    let load = stored_load_options(&manifest, console.load_options()?)?;
    let path = args.model.as_ref().unwrap_or(&entry.model.path);
    let model = DualEncoder::open_with(path, &load)?;
    let encode = EncodeOptions {
        prompt: entry.prompt.clone(),
        prompt_name: entry.prompt_name.clone(),
        normalize_embeddings: entry.normalize_embeddings,
        truncate_dim: entry.truncate_dim,
        ..batches(args)
    };
    let embedder = embedder_of(&model, entry.model.clone(), encode);
    let options = options(args, load, console)?;
    let corpus = corpus(args, dataset);
    let report = append_to_index(&args.output, &corpus, Some(&embedder), &options)?;
    print(&report, console)
}

fn delete(args: &IndexArgs, console: &Console) -> anyhow::Result<()> {
    let mut ids = args.delete.clone().unwrap_or_default();
    if let Some(path) = &args.delete_from {
        ids.extend(read_lines(path)?);
    }
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let deleted = delete_from_index(&args.output, &ids, args.restart)?;
    let text = || format!("deleted {} texts\n", thousands(deleted as u64));
    console.result(text, &json!({ "deleted": deleted }))
}

fn compact(args: &IndexArgs, console: &Console) -> anyhow::Result<()> {
    let options = options(args, console.load_options()?, console)?;
    let Compacted { rows, removed, bytes } = compact_index(&args.output, &options)?;
    let text = || {
        let [rows, removed] = [rows, removed].map(|count| thousands(count as u64));
        let bytes = thousands(bytes);
        format!("removed {removed} texts, {bytes} bytes; {rows} can be found\n")
    };
    console.result(text, &json!({ "removed": removed, "rows": rows, "bytes": bytes }))
}

fn embedder_of(model: &DualEncoder, entry: ModelEntry, options: EncodeOptions) -> Embedder<'_> {
    Embedder { encoder: model, model: entry, options }
}

fn corpus(args: &IndexArgs, dataset: &Path) -> CorpusSource {
    let ColumnArgs { id_column, text_column, title_column, split, limit } = args.columns.clone();
    let selection = SelectionArgs { split, columns: None, limit };
    let location = selection.location(dataset.to_owned());
    CorpusSource { location, id_column, text_column, title_column }
}

fn batches(args: &IndexArgs) -> EncodeOptions {
    EncodeOptions {
        batch_size: args.inference.batch_size.unwrap_or(usize::MAX),
        max_tokens: args.inference.max_tokens,
        ..EncodeOptions::default()
    }
}

fn options(args: &IndexArgs, load: LoadOptions, console: &Console) -> anyhow::Result<BuildOptions> {
    let device = load.device.map_or_else(|| console.device(), Ok)?;
    Ok(BuildOptions {
        store: args.store,
        bm25: args.bm25.then_some(args.language),
        restart: args.restart,
        reporter: console.progress.clone(),
        stop: interrupt::stop(),
        ..BuildOptions::new(device.workers().clone())
    })
}

fn report_precision(args: &IndexArgs, model: &Model, console: &Console) -> anyhow::Result<()> {
    args.inference.precision.check(&[model])?;
    args.inference.precision.report(model, console);
    Ok(())
}

fn print(report: &BuildReport, console: &Console) -> anyhow::Result<()> {
    let BuildReport { rows, added, continued } = *report;
    let text = || {
        let count = |rows: usize| thousands(rows as u64);
        let continued = match continued {
            0 => String::new(),
            rows => format!(", after {} of the interrupted run", count(rows)),
        };
        format!("indexed {} texts{continued}; {} can be found\n", count(added), count(rows))
    };
    console.result(text, &json!({ "added": added, "continued": continued, "rows": rows }))
}

/// Parses the name of a store.
fn store(name: &str) -> Result<Store, UnknownStore> {
    name.parse()
}

/// Parses the name of a language.
fn language(name: &str) -> Result<Language, UnknownLanguage> {
    name.parse()
}
