//! `rankforge evaluate`: evaluates a reranker.

mod cascade;
mod correlation;
mod reranker;
mod reranking;
mod shared;

use crate::commands::evaluate::cascade::CascadeArgs;
use crate::commands::evaluate::correlation::CorrelationArgs;
use crate::commands::evaluate::reranking::RerankingArgs;
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;

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
    #[command(flatten)]
    shared: SharedArgs,

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

    /// First stages and a reranker at several depths: quality, and time per query
    ///
    /// Each first stage retrieves the largest depth; the reranker orders the best of each depth
    /// again, and the others follow in the order of the first stage. Metrics are those of trec_eval
    /// and BEIR: the gain of NDCG is the grade of a document. Times are of one query at a time,
    /// from its text to its ranking. Queries without a relevant document are left out.
    #[command(after_help = "\
Examples:
  rankforge evaluate cascade --dataset data/scifact --first-stage models/static \\
      --rerank models/reranker --depth 10,30,100
  rankforge evaluate cascade --dataset data/scifact --first-stage bm25,models/static,hybrid \\
      --rerank models/reranker --report scifact.html --trec runs/scifact")]
    Cascade(CascadeArgs),
}

/// Runs the command.
///
/// # Errors
/// If --model is missing, the model or the data set cannot be read, or the CSV file cannot be
/// written.
pub(crate) fn run(args: &EvaluateArgs, console: &Console) -> anyhow::Result<()> {
    let shared = &args.shared;
    match &args.evaluator {
        EvaluatorCommand::Correlation(args) => correlation::run(args, shared, console),
        EvaluatorCommand::Reranking(args) => reranking::run(args, shared, console),
        EvaluatorCommand::Cascade(args) => cascade::run(args, shared, console),
    }
}
