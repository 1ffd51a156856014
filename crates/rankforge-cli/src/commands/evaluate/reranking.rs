//! `rankforge evaluate reranking`.

use crate::commands::evaluate::dual_encoder::{
    EmbeddingArgs, evaluate, is_evaluated_as_dual_encoder,
};
use crate::commands::evaluate::reranker::Reranker;
use crate::commands::evaluate::shared::{SharedArgs, metrics_table};
use crate::console::Console;
use crate::dataset::DatasetArgs;
use crate::failure::CliError;
use crate::inference::at_least_one;
use crate::table::Table;
use rankforge::encoder::LoadOptions;
use rankforge::evaluation::{CachedScores, Evaluator, FirstStage};
use rankforge::recipe::{DualEncoderRerankingSection, RerankingSection};
use rankforge::{Error, Metrics};
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct RerankingArgs {
    #[command(flatten)]
    dataset: DatasetArgs,

    /// Directory of the dual encoder that retrieves the candidates; for a BEIR directory
    #[arg(long, value_name = "DIR")]
    first_stage: Option<PathBuf>,

    /// Number of documents retrieved per query; for a BEIR directory [default: 30]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    depth: Option<usize>,

    /// Whether positives that are not among the candidates are reranked with them [default: true]
    ///
    /// A dual encoder always ranks them.
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    always_rerank_positives: Option<bool>,

    /// Number of top ranks that MRR and NDCG consider
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = at_least_one)]
    at_k: usize,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

/// Evaluates a reranker on samples, or on what a first stage retrieves from a BEIR directory; or a
/// dual encoder on samples.
///
/// # Errors
/// If a model or the data set cannot be read, flags do not fit the kind of the model, or the CSV
/// file cannot be written.
pub(super) fn run(
    args: &RerankingArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    match is_evaluated_as_dual_encoder(shared.model("the directory of the model")?, console)? {
        true => run_dual_encoder(args, shared, console),
        false => run_reranker(args, shared, console),
    }
}

fn run_dual_encoder(
    args: &RerankingArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let of_rerankers = [
        ("--first-stage", args.first_stage.is_some()),
        ("--depth", args.depth.is_some()),
        ("--always-rerank-positives", args.always_rerank_positives.is_some()),
    ];
    if let Some((flag, _)) = of_rerankers.iter().find(|(_, given)| *given) {
        let message = format!("{flag} is for rerankers, and --model is a dual encoder");
        let hint = "`evaluate retrieval` measures a dual encoder on a BEIR directory";
        return Err(CliError::usage(message).hint(hint).into());
    }
    let selection = &args.dataset.selection;
    let section = DualEncoderRerankingSection {
        path: args.dataset.dataset.clone(),
        split: selection.split.clone(),
        columns: selection.columns.clone(),
        limit: selection.limit.and_then(NonZeroUsize::new),
        name: Some(shared.name.clone()),
        truncate_dim: args.embedding.dimensions(),
        batch_size: shared.batch_size.and_then(NonZeroUsize::new),
        at_k: NonZeroUsize::new(args.at_k),
        ..DualEncoderRerankingSection::default()
    };
    evaluate(&args.embedding, shared, console, |_| section.evaluator())
}

fn run_reranker(
    args: &RerankingArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    if !args.embedding.dimensions().0.is_empty() {
        let message = "--truncate-dim is for dual encoders, and --model is a reranker";
        return Err(CliError::usage(message).hint("remove --truncate-dim").into());
    }
    let reranker = Reranker::new(shared, console)?;
    let base = &reranker.base;
    let retrieval = LoadOptions { precision: shared.precision.precision, ..base.clone() };
    let (evaluator, first_stage) = section(args, shared).evaluator(&retrieval)?;
    let model = CachedScores::new(reranker.open()?);
    let metrics = evaluator.evaluate(&model, &shared.context(console))?;
    let rerank = |stage: FirstStage| {
        let after = stage.rerank(&model, evaluator.batch_size, &base.reporter)?;
        Ok::<_, Error>((stage.metrics, after))
    };
    let retrieval = first_stage.map(rerank).transpose()?;
    report(&evaluator.rules(), &shared.name, &metrics, retrieval.as_ref(), console)
}

/// The evaluator that the flags describe.
fn section(args: &RerankingArgs, shared: &SharedArgs) -> RerankingSection {
    let selection = &args.dataset.selection;
    RerankingSection {
        path: args.dataset.dataset.clone(),
        split: selection.split.clone(),
        columns: selection.columns.clone(),
        limit: selection.limit.and_then(NonZeroUsize::new),
        name: Some(shared.name.clone()),
        batch_size: shared.batch_size.and_then(NonZeroUsize::new),
        write_csv: None,
        at_k: NonZeroUsize::new(args.at_k),
        always_rerank_positives: args.always_rerank_positives,
        first_stage: args.first_stage.clone(),
        depth: args.depth.and_then(NonZeroUsize::new),
    }
}

/// Prints how the evaluator computes, its metrics, and for a BEIR directory those of `retrieval`:
/// the metrics of the first stage and of the reranker against all relevant documents.
fn report(
    rules: &str,
    name: &str,
    metrics: &Metrics,
    retrieval: Option<&(Metrics, Metrics)>,
    console: &Console,
) -> anyhow::Result<()> {
    let text = || {
        let mut text = format!(
            "Relevance is binary, as in sentence-transformers' CrossEncoderRerankingEvaluator:\n\
             {rules}\n"
        );
        text.push_str(&before_and_after(name, metrics));
        if let Some((before, after)) = retrieval {
            text.push_str(
                "\nMeasured against all relevant documents of the collection, as in BEIR: the gain \
                 of NDCG\nis the grade of a document. Documents of equal scores keep the order of \
                 the corpus, or\nafter reranking that of the first stage.\n",
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
/// not compute the former (`base_*`). `name` is left out of their names.
pub(super) fn before_and_after(name: &str, metrics: &Metrics) -> String {
    let prefix = if name.is_empty() { String::new() } else { format!("{name}_") };
    let mut table = Table::new(&["metric", "first stage", "reranked", "gain"]);
    let mut has_base = false;
    for (key, value) in &metrics.0 {
        // The names of metrics have no underscore; those of data sets may have one.
        let (set, metric) = match key.rfind('_') {
            Some(end) => key.split_at(end + 1),
            None => ("", key.as_str()),
        };
        if let Some(base) = metrics.get(&format!("{set}base_{metric}")) {
            has_base = true;
            add_row(&mut table, key.strip_prefix(&prefix).unwrap_or(key), base, *value);
        }
    }
    if has_base { table.to_string() } else { metrics_table(metrics) }
}

fn add_row(table: &mut Table, key: &str, base: f64, value: f64) {
    let gain = format!("{:+.4}", value - base);
    table.row([key.to_owned(), format!("{base:.4}"), format!("{value:.4}"), gain]);
}
