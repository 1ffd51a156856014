//! `rankforge evaluate`: evaluates a reranker.

use crate::console::Console;
use crate::dataset::{DatasetArgs, roles};
use crate::failure::CliError;
use crate::inference::{ActivationName, PrecisionArgs, at_least_one};
use crate::table::Table;
use rankforge::data::DataError;
use rankforge::encoder::{CrossEncoder, EncoderError, LoadOptions, Packing, TextModel};
use rankforge::evaluation::{CachedScores, EvaluationContext, Evaluator, FirstStage};
use rankforge::recipe::{CorrelationSection, RerankingSection};
use rankforge::{Error, Metrics};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Evaluate a reranker
///
/// Computes the metrics of the evaluators of sentence-transformers, with the same names and the
/// same CSV files.
#[derive(Debug, clap::Args)]
#[command(
    next_help_heading = "Evaluation options",
    after_help = "\
Examples:
  rankforge evaluate correlation --model models/stsb --dataset data/stsb --split validation \\
      --columns sentence1,sentence2,score --name sts_dev
  rankforge evaluate reranking --model models/reranker --dataset samples.jsonl
  rankforge evaluate reranking --model models/reranker --dataset data/scifact \\
      --first-stage models/static --depth 30 --always-rerank-positives false"
)]
pub(crate) struct EvaluateArgs {
    /// Directory of the reranker (required)
    #[arg(long, value_name = "DIR", global = true)]
    model: Option<PathBuf>,

    /// Name of the data set, the prefix of the metrics' names [default: none]
    #[arg(long, value_name = "NAME", global = true, default_value = "", hide_default_value = true)]
    name: String,

    /// Append the metrics to a CSV file in this directory [default: no CSV file]
    #[arg(long, value_name = "DIR", global = true)]
    output: Option<PathBuf>,

    /// Maximum number of pairs in a batch [default: as many as fit into 8192 tokens]
    #[arg(long, value_name = "N", global = true, value_parser = at_least_one)]
    batch_size: Option<usize>,

    /// Truncate inputs to N tokens [default: the model's max_seq_length]
    #[arg(long, value_name = "N", global = true, value_parser = at_least_one)]
    max_length: Option<usize>,

    /// Activation applied to the logits [default: the model's activation_fn]
    #[arg(long, value_name = "NAME", global = true, value_enum)]
    activation_fn: Option<ActivationName>,

    #[command(flatten)]
    precision: PrecisionArgs,

    #[command(subcommand)]
    evaluator: EvaluatorCommand,
}

#[derive(Debug, clap::Subcommand)]
enum EvaluatorCommand {
    /// Pearson and Spearman correlation of the scores with gold scores
    ///
    /// The first three columns of the data set are two texts and their gold score, or those that
    /// --columns names.
    #[command(after_help = "\
Examples:
  rankforge evaluate correlation --model models/stsb --dataset data/stsb/validation.jsonl \\
      --columns sentence1,sentence2,score --name sts_dev
  rankforge evaluate correlation --model models/stsb --dataset pairs.csv --limit 500 --json")]
    Correlation(CorrelationArgs),

    /// MAP, MRR and NDCG of reranked candidates, compared with their order before reranking
    ///
    /// The data set is a file of samples with the columns query, positive, and negative or
    /// documents; or a BEIR directory (corpus.jsonl, queries.jsonl, qrels), whose documents a dual
    /// encoder retrieves for each query. Documents with the id of the query are left out.
    ///
    /// The evaluator knows relevant and other texts, as that of sentence-transformers does. For a
    /// BEIR directory a second table has the figures of BEIR: measured against all relevant
    /// documents of the collection, with the grade of a document as its gain in NDCG. Documents of
    /// equal scores keep the order of the corpus, or after reranking that of the first stage.
    #[command(after_help = "\
Examples:
  rankforge evaluate reranking --model models/reranker --dataset samples.jsonl --at-k 10
  rankforge evaluate reranking --model models/reranker --dataset data/scifact --split test \\
      --first-stage models/static --depth 30 --always-rerank-positives false --output results")]
    Reranking(RerankingArgs),
}

#[derive(Debug, clap::Args)]
struct CorrelationArgs {
    #[command(flatten)]
    dataset: DatasetArgs,
}

#[derive(Debug, clap::Args)]
struct RerankingArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Directory of the dual encoder that retrieves the candidates; for a BEIR directory
    #[arg(long, value_name = "DIR")]
    first_stage: Option<PathBuf>,

    /// Number of documents retrieved per query; for a BEIR directory [default: 30]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    depth: Option<usize>,

    /// Whether positives that are not among the candidates are reranked with them
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    always_rerank_positives: bool,

    /// Number of top ranks that MRR and NDCG consider
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = at_least_one)]
    at_k: usize,
}

/// Runs the command.
///
/// # Errors
/// If --model is missing, the model or the data set cannot be read, or the CSV file cannot be
/// written.
pub(crate) fn run(args: &EvaluateArgs, console: &Console) -> anyhow::Result<()> {
    let Some(path) = &args.model else {
        return Err(CliError::usage(
            "evaluate requires --model DIR, the directory of the reranker",
        )
        .into());
    };
    let base = console.load_options()?;
    let options = LoadOptions {
        max_length: args.max_length,
        activation_fn: args.activation_fn.map(Into::into),
        precision: args.precision.precision,
        packing: Packing::Instead,
        ..base.clone()
    };
    let open = || {
        let model = CrossEncoder::open_with(path, &options)?;
        args.precision.report(model.model(), console);
        Ok::<_, EncoderError>(model)
    };
    let context = EvaluationContext {
        output_path: args.output.as_deref(),
        reporter: base.reporter.clone(),
        ..EvaluationContext::default()
    };
    match &args.evaluator {
        EvaluatorCommand::Correlation(data) => {
            let built = correlation(args, data)?.evaluator();
            let evaluator = built.map_err(|error| with_columns_hint(error, &data.dataset))?;
            let metrics = evaluator.evaluate(&open()?, &context)?;
            console.result(|| metrics_table(&metrics), &metrics)
        }
        EvaluatorCommand::Reranking(data) => {
            let retrieval = LoadOptions { precision: args.precision.precision, ..base.clone() };
            let (evaluator, first_stage) = reranking(args, data).evaluator(&retrieval)?;
            let model = CachedScores::new(open()?);
            let metrics = evaluator.evaluate(&model, &context)?;
            let rerank = |stage: FirstStage| {
                let after = stage.rerank(&model, evaluator.batch_size, &base.reporter)?;
                Ok::<_, Error>((stage.metrics, after))
            };
            let retrieval = first_stage.map(rerank).transpose()?;
            report_reranking(&args.name, &metrics, retrieval.as_ref(), console)
        }
    }
}

/// The evaluator that the flags describe.
///
/// # Errors
/// If --columns does not name three columns.
fn correlation(args: &EvaluateArgs, data: &CorrelationArgs) -> anyhow::Result<CorrelationSection> {
    let selection = &data.dataset.selection;
    if let Some(columns) = &selection.columns {
        roles(columns, &["first text", "second text", "score"])?;
    }
    Ok(CorrelationSection {
        path: data.dataset.dataset.clone(),
        split: selection.split.clone(),
        columns: selection.columns.clone(),
        limit: selection.limit.and_then(NonZeroUsize::new),
        name: Some(args.name.clone()),
        batch_size: args.batch_size.and_then(NonZeroUsize::new),
        write_csv: None,
    })
}

/// The error with a hint to name the columns, if the first three were read and do not fit.
fn with_columns_hint(error: Error, data: &DatasetArgs) -> anyhow::Error {
    let is_about_columns =
        matches!(error, Error::Rows { .. } | Error::Data(DataError::Cell { .. }));
    if data.selection.columns.is_some() || !is_about_columns {
        return error.into();
    }
    let hint = "--columns A,B,SCORE names the columns of both texts and of their score; without \
                it they are the first three";
    CliError::input(error.to_string()).hint(hint).into()
}

/// The evaluator that the flags describe.
fn reranking(args: &EvaluateArgs, data: &RerankingArgs) -> RerankingSection {
    let selection = &data.dataset.selection;
    RerankingSection {
        path: data.dataset.dataset.clone(),
        split: selection.split.clone(),
        columns: selection.columns.clone(),
        limit: selection.limit.and_then(NonZeroUsize::new),
        name: Some(args.name.clone()),
        batch_size: args.batch_size.and_then(NonZeroUsize::new),
        write_csv: None,
        at_k: NonZeroUsize::new(data.at_k),
        always_rerank_positives: Some(data.always_rerank_positives),
        first_stage: data.first_stage.clone(),
        depth: data.depth.and_then(NonZeroUsize::new),
    }
}

/// A table of metrics and their values.
fn metrics_table(metrics: &Metrics) -> String {
    let mut table = Table::new(&["metric", "value"]);
    for (name, value) in &metrics.0 {
        table.row([name.clone(), format!("{value:.4}")]);
    }
    table.to_string()
}

/// Prints the metrics of the evaluator, and for a BEIR directory those of `retrieval`: the metrics
/// of the first stage and of the reranker against all relevant documents.
fn report_reranking(
    name: &str,
    metrics: &Metrics,
    retrieval: Option<&(Metrics, Metrics)>,
    console: &Console,
) -> anyhow::Result<()> {
    let text = || {
        let mut text = "Relevance is binary, as in sentence-transformers' \
                        CrossEncoderRerankingEvaluator:\n"
            .to_owned();
        text.push_str(&side_by_side(name, metrics));
        if let Some((before, after)) = retrieval {
            text.push_str(
                "\nMeasured against all relevant documents of the collection, as in BEIR: the gain \
                 of NDCG\nis the grade of a document.\n",
            );
            let mut table = Table::new(&["metric", "first stage", "reranked", "gain"]);
            for (key, base) in &before.0 {
                add_row(&mut table, key, *base, after.get(key).unwrap_or(f64::NAN));
            }
            text.push_str(&table.to_string());
        }
        text
    };
    let json = match retrieval {
        None => json!({ "metrics": metrics, "relevance": { "metrics": "binary" } }),
        Some((before, after)) => json!({
            "metrics": metrics,
            "first_stage": before,
            "reranked": after,
            "relevance": { "metrics": "binary", "first_stage": "graded", "reranked": "graded" },
        }),
    };
    console.result(text, &json)
}

/// A table of the metrics before and after reranking, or of the metrics alone if the evaluator did
/// not compute the former (`base_*`).
fn side_by_side(name: &str, metrics: &Metrics) -> String {
    let prefix = if name.is_empty() { String::new() } else { format!("{name}_") };
    let mut table = Table::new(&["metric", "first stage", "reranked", "gain"]);
    let mut has_base = false;
    for (key, value) in &metrics.0 {
        let bare = key.strip_prefix(&prefix).unwrap_or(key);
        if let Some(base) = metrics.get(&format!("{prefix}base_{bare}")) {
            has_base = true;
            add_row(&mut table, bare, base, *value);
        }
    }
    if has_base { table.to_string() } else { metrics_table(metrics) }
}

fn add_row(table: &mut Table, key: &str, base: f64, value: f64) {
    let gain = format!("{:+.4}", value - base);
    table.row([key.to_owned(), format!("{base:.4}"), format!("{value:.4}"), gain]);
}
