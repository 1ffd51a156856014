//! `rankforge evaluate`: how good a reranker is.

use crate::console::Console;
use crate::dataset::{DatasetArgs, roles};
use crate::failure::Mistake;
use crate::inference::{ActivationName, PrecisionArgs, at_least_one, load_dual_encoder};
use crate::recipe::correlation_evaluator;
use crate::table::Table;
use rankforge::data::{Location, load_beir, load_rows};
use rankforge::encoder::{CrossEncoder, EncoderError, LoadOptions, Reporter};
use rankforge::evaluation::{
    CrossEncoderRerankingEvaluator, Evaluator, FirstStage, Moment, PairScorer, reranking_samples,
    samples_from_first_stage,
};
use rankforge::{Metrics, Precision};
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Documents that the first stage hands over, unless a flag says otherwise.
const DEPTH: usize = 30;

/// Measure a reranker
///
/// Figures, keys and CSV files are those of sentence-transformers' evaluators.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge evaluate correlation --model models/stsb --dataset data/stsb --split validation \\
      --columns sentence1,sentence2,score --name sts_dev
  rankforge evaluate reranking --model models/reranker --dataset samples.jsonl
  rankforge evaluate reranking --model models/reranker --dataset data/scifact \\
      --first-stage models/static --depth 30 --always-rerank-positives false")]
pub(crate) struct EvaluateArgs {
    /// Folder of the reranker
    #[arg(long, value_name = "FOLDER", global = true)]
    model: Option<PathBuf>,

    /// Name of the data, the prefix of the figures' keys
    #[arg(long, value_name = "NAME", global = true, default_value = "")]
    name: String,

    /// Append the figures to a CSV file in this folder
    #[arg(long, value_name = "FOLDER", global = true)]
    output: Option<PathBuf>,

    /// Most pairs in a batch [default: as many as 8192 tokens allow]
    #[arg(long, value_name = "N", global = true, value_parser = at_least_one)]
    batch_size: Option<usize>,

    /// Cut inputs to so many tokens [default: as the model's files say]
    #[arg(long, value_name = "TOKENS", global = true, value_parser = at_least_one)]
    max_length: Option<usize>,

    /// Applied to the logits [default: as the model's files say]
    #[arg(long, value_name = "NAME", global = true, value_enum)]
    activation_fn: Option<ActivationName>,

    #[command(flatten)]
    precision: PrecisionArgs,

    #[command(subcommand)]
    evaluator: EvaluatorCommand,
}

#[derive(Debug, clap::Subcommand)]
enum EvaluatorCommand {
    /// Correlation of the scores with gold scores: Pearson and Spearman
    #[command(after_help = "\
Examples:
  rankforge evaluate correlation --model models/stsb --dataset data/stsb/validation.jsonl \\
      --columns sentence1,sentence2,score --name sts_dev
  rankforge evaluate correlation --model models/stsb --dataset pairs.csv --limit 500 --json")]
    Correlation(CorrelationArgs),

    /// Rankings of candidates, beside those of the first stage: MAP, MRR and NDCG
    ///
    /// The data are samples (columns query, positive, and negative or documents), or a BEIR folder
    /// (corpus.jsonl, queries.jsonl, qrels) whose documents a dual encoder ranks first.
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

    /// For a BEIR folder: the dual encoder that ranks its documents first
    #[arg(long, value_name = "FOLDER")]
    first_stage: Option<PathBuf>,

    /// For a BEIR folder: documents that the first stage hands over [default: 30]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    depth: Option<usize>,

    /// Rank positives that the first stage missed together with its documents
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    always_rerank_positives: bool,

    /// Where MRR and NDCG are cut
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = at_least_one)]
    at_k: usize,
}

/// Runs the command.
///
/// # Errors
/// An unusable model or data set, or a CSV file that cannot be written.
pub(crate) fn run(args: &EvaluateArgs, console: &Console) -> anyhow::Result<()> {
    let Some(path) = &args.model else {
        return Err(Mistake::usage("evaluate needs --model FOLDER, the reranker").into());
    };
    let options = LoadOptions {
        max_length: args.max_length,
        activation_fn: args.activation_fn.map(Into::into),
        precision: args.precision.precision,
        ..console.load_options()?
    };
    let load = || {
        let model = CrossEncoder::load(path, &options, &*console.progress)?;
        args.precision.tell(model.model(), console);
        Ok::<_, EncoderError>(model)
    };
    let moment = Moment { output_path: args.output.as_deref(), ..Moment::OUTSIDE };
    match &args.evaluator {
        EvaluatorCommand::Correlation(data) => {
            let location = data.dataset.location();
            if let Some(columns) = &location.columns {
                roles(columns, &["first text", "second text", "score"])?;
            }
            let mut evaluator = correlation_evaluator(&location, &args.name)?;
            evaluator.batch_size = args.batch_size.unwrap_or(evaluator.batch_size);
            let metrics = evaluator.evaluate(&load()?, moment, &*console.progress)?;
            console.result(|| figures(&metrics), &metrics)
        }
        EvaluatorCommand::Reranking(data) => {
            let reranking = RerankingData {
                location: data.dataset.location(),
                first_stage: data.first_stage.clone(),
                depth: data.depth,
                at_k: data.at_k,
                precision: args.precision.precision,
            };
            let (mut evaluator, first_stage) =
                reranking_evaluator(&reranking, &args.name, console)?;
            evaluator.always_rerank_positives = data.always_rerank_positives;
            evaluator.batch_size = args.batch_size.unwrap_or(evaluator.batch_size);
            let model = Remembering::new(load()?);
            let metrics = evaluator.evaluate(&model, moment, &*console.progress)?;
            let retrieval = first_stage
                .map(|stage| -> anyhow::Result<_> {
                    let after = stage.rerank(&model, evaluator.batch_size, &*console.progress)?;
                    Ok((stage.metrics, after))
                })
                .transpose()?;
            report_reranking(&args.name, &metrics, retrieval.as_ref(), console)
        }
    }
}

/// Where the samples of a reranking evaluation come from.
#[derive(Clone, Debug)]
pub(crate) struct RerankingData {
    /// Samples, or a BEIR folder.
    pub(crate) location: Location,
    /// For a BEIR folder: the dual encoder.
    pub(crate) first_stage: Option<PathBuf>,
    /// For a BEIR folder: documents for each query.
    pub(crate) depth: Option<usize>,
    /// Where MRR and NDCG are cut.
    pub(crate) at_k: usize,
    /// Of the dual encoder.
    pub(crate) precision: Precision,
}

/// Reads samples, or ranks the documents of a BEIR folder by its first stage.
///
/// # Errors
/// Data or a first stage that cannot be used, or flags that do not go with the data.
pub(crate) fn reranking_evaluator(
    data: &RerankingData,
    name: &str,
    console: &Console,
) -> anyhow::Result<(CrossEncoderRerankingEvaluator, Option<FirstStage>)> {
    let path = &data.location.path;
    let first_stage = match &data.first_stage {
        Some(first_stage) if is_beir(path) => Some(retrieve(data, first_stage, console)?),
        Some(_) => {
            let message =
                format!("{}: not a BEIR folder, so it has no first stage", path.display());
            return Err(Mistake::input(message)
                .hint("a BEIR folder has corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv")
                .into());
        }
        None if is_beir(path) => {
            let message = format!("{}: a BEIR folder needs a first stage", path.display());
            let hint = "name the dual encoder that ranks its documents: --first-stage FOLDER";
            return Err(Mistake::input(message).hint(hint).into());
        }
        None if data.depth.is_some() => {
            let message = format!("{}: depth is for BEIR folders only", path.display());
            return Err(Mistake::input(message).into());
        }
        None => None,
    };
    let samples = match &first_stage {
        Some(stage) => stage.samples.clone(),
        None => reranking_samples(&load_rows(&data.location)?)?,
    };
    let mut evaluator = CrossEncoderRerankingEvaluator::new(samples, name)?;
    evaluator.at_k = data.at_k;
    Ok((evaluator, first_stage))
}

fn is_beir(path: &Path) -> bool {
    path.join("corpus.jsonl").is_file() && path.join("queries.jsonl").is_file()
}

fn retrieve(data: &RerankingData, first: &Path, console: &Console) -> anyhow::Result<FirstStage> {
    if data.location.columns.is_some() {
        return Err(Mistake::usage("a BEIR folder has no columns to choose").into());
    }
    let mut beir = load_beir(&data.location.path, data.location.split.as_deref())?;
    if let Some(limit) = data.location.limit {
        beir.queries.truncate(limit);
    }
    let encoder = load_dual_encoder(first, data.precision, console)?;
    let depth = data.depth.unwrap_or(DEPTH);
    let progress = &*console.progress;
    Ok(samples_from_first_stage(&beir, &encoder, depth, data.at_k, usize::MAX, progress)?)
}

/// A model that scores each pair once, however often it is asked.
struct Remembering {
    model: CrossEncoder,
    known: Mutex<HashMap<(String, String), f32>>,
}

impl Remembering {
    fn new(model: CrossEncoder) -> Remembering {
        Remembering { model, known: Mutex::default() }
    }
}

impl PairScorer for Remembering {
    fn score(
        &self,
        pairs: &[(&str, &str)],
        batch_size: usize,
        reporter: &dyn Reporter,
    ) -> Result<Vec<f32>, EncoderError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |pair: &(&str, &str)| (pair.0.to_owned(), pair.1.to_owned());
        let unknown: Vec<(&str, &str)> =
            pairs.iter().filter(|pair| !known.contains_key(&key(pair))).copied().collect();
        if !unknown.is_empty() {
            let scores = self.model.score(&unknown, batch_size, reporter)?;
            known.extend(unknown.iter().map(key).zip(scores));
        }
        Ok(pairs.iter().map(|pair| known[&key(pair)]).collect())
    }
}

fn figures(metrics: &Metrics) -> String {
    let mut table = Table::new(&["figure", "value"]);
    for (name, value) in &metrics.0 {
        table.row([name.clone(), format!("{value:.4}")]);
    }
    table.to_string()
}

/// Prints the figures, those of the first stage beside those of the reranker.
fn report_reranking(
    name: &str,
    metrics: &Metrics,
    retrieval: Option<&(Metrics, Metrics)>,
    console: &Console,
) -> anyhow::Result<()> {
    let text = || {
        let mut text = side_by_side(name, metrics);
        if let Some((before, after)) = retrieval {
            text.push_str("\nAgainst all relevant documents of the collection:\n");
            let mut table = Table::new(&["figure", "first stage", "reranked", "gain"]);
            for (key, base) in &before.0 {
                add_row(&mut table, key, *base, after.get(key).unwrap_or(f64::NAN));
            }
            text.push_str(&table.to_string());
        }
        text
    };
    let json = match retrieval {
        None => json!({ "metrics": metrics }),
        Some((before, after)) => {
            json!({ "metrics": metrics, "first_stage": before, "reranked": after })
        }
    };
    console.result(text, &json)
}

fn side_by_side(name: &str, metrics: &Metrics) -> String {
    let prefix = if name.is_empty() { String::new() } else { format!("{name}_") };
    let mut table = Table::new(&["figure", "first stage", "reranked", "gain"]);
    let mut has_base = false;
    for (key, value) in &metrics.0 {
        let bare = key.strip_prefix(&prefix).unwrap_or(key);
        if let Some(base) = metrics.get(&format!("{prefix}base_{bare}")) {
            has_base = true;
            add_row(&mut table, bare, base, *value);
        }
    }
    if has_base { table.to_string() } else { figures(metrics) }
}

fn add_row(table: &mut Table, key: &str, base: f64, value: f64) {
    let gain = format!("{:+.4}", value - base);
    table.row([key.to_owned(), format!("{base:.4}"), format!("{value:.4}"), gain]);
}
