//! `rankforge mine`: hard negatives for question and passage pairs.

use crate::console::Console;
use crate::dataset::DatasetArgs;
use crate::failure::Mistake;
use crate::inference::{PrecisionArgs, at_least_one};
use crate::interrupt::Graceful;
use crate::table::thousands;
use anyhow::Context;
use rankforge::data::{Location, RowWriter, Rows, load_rows};
use rankforge::encoder::{CrossEncoder, DualEncoder, LoadOptions};
use rankforge::evaluation::PairScorer;
use rankforge::mining::{
    MiningOptions, OutputFormat, SamplingStrategy, Statistics, Summary, mine_hard_negatives_to,
};
use serde_json::{Value as Json, json};
use std::path::{Path, PathBuf};

/// Rows written at a time; between two writes Ctrl-C is heeded.
const CHUNK: usize = 16384;

/// Mine hard negatives: passages near to a question that are not its answers
///
/// Embeds questions and passages with a dual encoder and takes, for each question, the nearest
/// passages that pass the filters. Every parameter has the name and the default that it has in
/// sentence-transformers' mine_hard_negatives. Prints statistics of the scores.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge mine --dataset pairs.parquet --columns query,answer --model models/static \\
      --num-negatives 5 --range-min 0 --range-max 20 --absolute-margin 0 \\
      --sampling-strategy top --batch-size 4096 --output-format labeled-pair --output mined.jsonl
  rankforge mine --dataset pairs.jsonl --model models/static --cross-encoder models/reranker \\
      --relative-margin 0.05 --range-max 50 --output-format n-tuple --output mined.parquet
  rankforge mine --dataset pairs.jsonl --model models/static --corpus passages.jsonl \\
      --corpus-column text --sampling-strategy random --seed 7 --output triplets.jsonl")]
pub(crate) struct MineArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Folder of the dual encoder that finds the candidates
    #[arg(long, value_name = "FOLDER")]
    model: PathBuf,

    /// Mined rows: a .jsonl, .csv or .parquet file (lists have no form in .csv)
    #[arg(long, value_name = "FILE")]
    output: PathBuf,

    /// Folder of a reranker that scores the candidates again, where a margin or score bound is set
    #[arg(long, value_name = "FOLDER")]
    cross_encoder: Option<PathBuf>,

    /// More passages that can become negatives [default: the answers of the data set]
    #[arg(long, value_name = "PATH")]
    corpus: Option<PathBuf>,

    /// Column of --corpus that holds the passages [default: `text`, or else the first]
    #[arg(long, value_name = "NAME", requires = "corpus")]
    corpus_column: Option<String>,

    #[command(flatten)]
    precision: PrecisionArgs,

    #[command(flatten)]
    options: MiningArgs,
}

/// The parameters of mine_hard_negatives, as flags.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Mining")]
struct MiningArgs {
    /// Column of the questions [default: the first]
    #[arg(long, value_name = "NAME")]
    anchor_column_name: Option<String>,

    /// Column of the answers [default: the second]
    #[arg(long, value_name = "NAME")]
    positive_column_name: Option<String>,

    /// Skip the N best candidates that pass the filters
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    range_min: i64,

    /// Keep N candidates for each question [default: enough for --num-negatives]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    range_max: Option<i64>,

    /// Drop candidates with a higher score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    max_score: Option<f64>,

    /// Drop candidates with a lower score
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true)]
    min_score: Option<f64>,

    /// Drop candidates whose score plus this exceeds that of the weakest answer
    #[arg(long, value_name = "MARGIN", allow_negative_numbers = true)]
    absolute_margin: Option<f64>,

    /// Drop candidates whose score exceeds this share below that of the weakest answer
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    relative_margin: Option<f64>,

    /// Negatives for each question
    #[arg(long, value_name = "N", default_value_t = 3, allow_negative_numbers = true)]
    num_negatives: i64,

    /// Which remaining candidates are taken: top or random
    #[arg(long, value_name = "NAME", default_value_t = SamplingStrategy::Top)]
    sampling_strategy: SamplingStrategy,

    /// Name of the model's prompt for questions
    #[arg(long, value_name = "NAME")]
    query_prompt_name: Option<String>,

    /// Prepended to each question
    #[arg(long, value_name = "TEXT")]
    query_prompt: Option<String>,

    /// Name of the model's prompt for passages
    #[arg(long, value_name = "NAME")]
    corpus_prompt_name: Option<String>,

    /// Prepended to each passage
    #[arg(long, value_name = "TEXT")]
    corpus_prompt: Option<String>,

    /// Leave the answers in the ranking; the format becomes n-tuple
    #[arg(long)]
    include_positives: bool,

    /// Shape of the rows: triplet, n-tuple, labeled-pair or labeled-list
    #[arg(long, value_name = "NAME", default_value_t = OutputFormat::Triplet)]
    output_format: OutputFormat,

    /// Write the scores, in the place of the labels where there are labels
    #[arg(long)]
    output_scores: bool,

    /// Most texts or pairs in a batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    batch_size: usize,

    /// Questions in a search
    #[arg(long, value_name = "N", default_value_t = 16384, allow_negative_numbers = true)]
    faiss_batch_size: i64,

    /// Accepted for the name's sake: the search is exact and blocked either way
    #[arg(long)]
    use_faiss: bool,

    /// Accepted for the name's sake: all threads work either way
    #[arg(long)]
    use_multi_process: bool,

    /// Print statistics of the scores
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    verbose: bool,

    /// Keep the embeddings in this folder for the next time
    #[arg(long, value_name = "FOLDER")]
    cache_folder: Option<PathBuf>,

    /// Deprecated: true is --output-format triplet, false is n-tuple
    #[arg(long, value_name = "BOOL")]
    as_triplets: Option<bool>,

    /// Deprecated: --absolute-margin
    #[arg(long, value_name = "MARGIN", allow_negative_numbers = true)]
    margin: Option<f64>,

    /// Seed of --sampling-strategy random
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
}

impl MiningArgs {
    fn options(&self) -> MiningOptions {
        MiningOptions {
            anchor_column_name: self.anchor_column_name.clone(),
            positive_column_name: self.positive_column_name.clone(),
            range_min: self.range_min,
            range_max: self.range_max,
            max_score: self.max_score,
            min_score: self.min_score,
            absolute_margin: self.absolute_margin,
            relative_margin: self.relative_margin,
            num_negatives: self.num_negatives,
            sampling_strategy: self.sampling_strategy,
            query_prompt_name: self.query_prompt_name.clone(),
            query_prompt: self.query_prompt.clone(),
            corpus_prompt_name: self.corpus_prompt_name.clone(),
            corpus_prompt: self.corpus_prompt.clone(),
            include_positives: self.include_positives,
            output_format: self.output_format,
            output_scores: self.output_scores,
            batch_size: self.batch_size,
            faiss_batch_size: self.faiss_batch_size,
            use_faiss: self.use_faiss,
            use_multi_process: self.use_multi_process,
            verbose: self.verbose,
            cache_folder: self.cache_folder.clone(),
            as_triplets: self.as_triplets,
            margin: self.margin,
            seed: self.seed,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// An unusable model or data set, options that cannot be met, a full disk.
pub(crate) fn run(args: &MineArgs, console: &Console) -> anyhow::Result<()> {
    // Refuses an unknown extension or a missing folder before the work, not after it.
    drop(RowWriter::create(&args.output)?);
    // The printed text goes to standard output at the end, not to the log.
    let options = MiningOptions { verbose: false, ..args.options.options() };
    let sources = MiningSources {
        model: &args.model,
        cross_encoder: args.cross_encoder.as_deref(),
        corpus: args.corpus.as_deref(),
        corpus_column: args.corpus_column.as_deref(),
        precision: args.precision,
    };
    let rows = load_rows(&args.dataset.location())?;
    require_columns(&rows, &options)?;
    let mined = mine(&rows, &sources, &options, &args.output, console)?;
    let text = || {
        let mut text = String::new();
        if args.options.verbose {
            text.push_str(&mined.lines.join("\n"));
            text.push('\n');
        }
        let count = thousands(mined.summary.rows as u64);
        let names = mined.columns.join(", ");
        text.push_str(&format!("{count} rows ({names}): {}\n", args.output.display()));
        text
    };
    console.result(text, &summary(&mined, &args.output))
}

/// A named column that is not there is a mistake here; the library takes the first two instead.
fn require_columns(rows: &Rows, options: &MiningOptions) -> anyhow::Result<()> {
    for name in [&options.anchor_column_name, &options.positive_column_name].into_iter().flatten() {
        rows.column(name)?;
    }
    Ok(())
}

/// The models and texts of a mining run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MiningSources<'a> {
    /// Folder of the dual encoder.
    pub(crate) model: &'a Path,
    /// Folder of the reranker.
    pub(crate) cross_encoder: Option<&'a Path>,
    /// Data set of more passages.
    pub(crate) corpus: Option<&'a Path>,
    /// Its column.
    pub(crate) corpus_column: Option<&'a str>,
    /// Of both models.
    pub(crate) precision: PrecisionArgs,
}

/// What was written, and how it came about.
#[derive(Debug)]
pub(crate) struct Mined {
    pub(crate) summary: Summary,
    columns: Vec<String>,
    lines: Vec<String>,
}

/// Opens the models, mines and writes the rows as they come, heeding Ctrl-C on the way.
///
/// # Errors
/// An unusable model or data set, options that cannot be met, a full disk, or Ctrl-C; nothing is left under the name
/// of the output then.
pub(crate) fn mine(
    rows: &Rows,
    sources: &MiningSources<'_>,
    options: &MiningOptions,
    output: &Path,
    console: &Console,
) -> anyhow::Result<Mined> {
    let precision = sources.precision.precision;
    let load = LoadOptions { precision, ..console.load_options()? };
    let encoder = DualEncoder::load(sources.model, &load, &*console.progress)
        .context("cannot use the mining model")?;
    let reranker = sources
        .cross_encoder
        .map(|path| CrossEncoder::load(path, &load, &*console.progress))
        .transpose()
        .context("cannot use the cross-encoder for mining")?;
    let models = [Some(encoder.model()), reranker.as_ref().map(CrossEncoder::model)];
    sources.precision.check(&models.into_iter().flatten().collect::<Vec<_>>())?;
    sources.precision.tell(encoder.model(), console);
    let reranker = reranker.as_ref().map(|reranker| reranker as &dyn PairScorer);
    let corpus = match sources.corpus {
        Some(path) => Some(read_texts(path, sources.corpus_column)?),
        None => None,
    };
    let (mut target, mut columns) = (None, Vec::new());
    let write = |piece: Rows| -> anyhow::Result<()> {
        if target.is_none() {
            // Not before: until then Ctrl-C exits at once, and would leave the temporary file.
            target = Some((Graceful::begin(), RowWriter::create(output)?));
            columns = piece.column_names().into_iter().map(str::to_owned).collect();
        }
        let (graceful, writer) = target.as_mut().expect("begun above");
        graceful.check()?;
        if !piece.is_empty() {
            writer.write(&piece)?;
        }
        Ok(())
    };
    let (corpus, progress) = (corpus.as_deref(), &*console.progress);
    let (summary, lines) =
        mine_hard_negatives_to(rows, &encoder, options, reranker, corpus, progress, write)?;
    let (graceful, writer) = target.expect("there are rows to mine for, so there is a piece");
    graceful.check()?;
    writer.finish()?;
    Ok(Mined { summary, columns, lines })
}

/// The texts of one column of a data set: `column`, or `text`, or the first.
///
/// # Errors
/// An unusable data set, no such column.
pub(crate) fn read_texts(path: &Path, column: Option<&str>) -> anyhow::Result<Vec<String>> {
    let rows = load_rows(&Location { path: path.to_owned(), ..Location::default() })?;
    let names = rows.column_names();
    let column = match column {
        Some(column) => column,
        None if names.contains(&"text") => "text",
        None => names
            .first()
            .ok_or_else(|| Mistake::input(format!("{}: there are no columns", path.display())))?,
    };
    Ok(rows.texts(column)?.into_iter().map(str::to_owned).collect())
}

/// Writes rows, heeding Ctrl-C on the way.
///
/// # Errors
/// A full disk, or Ctrl-C; nothing is left under the name then.
pub(crate) fn write_rows(rows: &Rows, output: &Path) -> anyhow::Result<()> {
    let graceful = Graceful::begin();
    let mut writer = RowWriter::create(output)?;
    let numbers: Vec<usize> = (0..rows.len()).collect();
    for chunk in numbers.chunks(CHUNK) {
        graceful.check()?;
        writer.write(&rows.select(chunk))?;
    }
    graceful.check()?;
    Ok(writer.finish()?)
}

fn summary(mined: &Mined, output: &Path) -> Json {
    let summary = &mined.summary;
    let skipped: Vec<Json> = summary
        .skipped
        .iter()
        .map(|skipped| {
            json!({
                "parameter": skipped.parameter,
                "value": skipped.value,
                "count": skipped.count,
                "ratio": skipped.ratio,
            })
        })
        .collect();
    json!({
        "output": output,
        "rows": summary.rows,
        "columns": mined.columns,
        "range_max": summary.range_max,
        "total_queries": summary.total_queries,
        "unique_queries": summary.unique_queries,
        "average_positives": summary.average_positives,
        "positive": statistics(&summary.positive),
        "negative": statistics(&summary.negative),
        "difference": statistics(&summary.difference),
        "skipped": skipped,
        "maximum_possible": summary.maximum_possible,
        "missing": summary.missing,
    })
}

fn statistics(of: &Statistics) -> Json {
    json!({
        "count": of.count,
        "mean": of.mean,
        "median": of.median,
        "std": of.std,
        "min": of.min,
        "25%": of.quartile_1,
        "50%": of.quartile_2,
        "75%": of.quartile_3,
        "max": of.max,
    })
}
