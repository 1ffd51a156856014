//! `rankforge evaluate retrieval` and `rankforge evaluate nanobeir`.

use crate::commands::evaluate::dual_encoder::{EmbeddingArgs, evaluate, similarity};
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;
use crate::failure::CliError;
use crate::inference::at_least_one;
use rankforge::recipe::{InformationRetrievalSection, NanoBEIRSection, SimilarityName};
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct RetrievalArgs {
    /// BEIR directory: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Split of the judgements: qrels/NAME.tsv [default: test]
    #[arg(long, value_name = "NAME")]
    split: Option<String>,

    #[command(flatten)]
    options: RetrievalOptions,
}

#[derive(Debug, clap::Args)]
pub(super) struct NanoBeirArgs {
    /// Directory of the collections
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Names of the collections, such as msmarco,nq [default: all that the directory has]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    dataset_names: Option<Vec<String>>,

    #[command(flatten)]
    options: RetrievalOptions,
}

/// The flags of both.
#[derive(Debug, clap::Args)]
struct RetrievalOptions {
    /// Evaluate only the first N queries [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    limit: Option<usize>,

    /// Score functions: cosine, dot, euclidean, manhattan [default: that of the model]
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', value_parser = similarity)]
    score_functions: Vec<SimilarityName>,

    /// Prompt prepended to each query [default: the model's prompt for queries]
    #[arg(long, value_name = "TEXT", conflicts_with = "query_prompt_name")]
    query_prompt: Option<String>,

    /// Name of one of the model's prompts, for queries
    #[arg(long, value_name = "NAME")]
    query_prompt_name: Option<String>,

    /// Prompt prepended to each document [default: the model's prompt for documents]
    #[arg(long, value_name = "TEXT", conflicts_with = "corpus_prompt_name")]
    corpus_prompt: Option<String>,

    /// Name of one of the model's prompts, for documents
    #[arg(long, value_name = "NAME")]
    corpus_prompt_name: Option<String>,

    /// Number of documents that are embedded and searched at a time; limits memory use
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = at_least_one)]
    corpus_chunk_size: usize,

    /// Ranks of MRR [default: 10]
    #[arg(long, value_name = "K,...", value_delimiter = ',', value_parser = at_least_one)]
    mrr_at_k: Option<Vec<usize>>,

    /// Ranks of NDCG [default: 10]
    #[arg(long, value_name = "K,...", value_delimiter = ',', value_parser = at_least_one)]
    ndcg_at_k: Option<Vec<usize>>,

    /// Ranks of accuracy [default: 1,3,5,10]
    #[arg(long, value_name = "K,...", value_delimiter = ',', value_parser = at_least_one)]
    accuracy_at_k: Option<Vec<usize>>,

    /// Ranks of precision and recall [default: 1,3,5,10]
    #[arg(long, value_name = "K,...", value_delimiter = ',', value_parser = at_least_one)]
    precision_recall_at_k: Option<Vec<usize>>,

    /// Ranks of MAP [default: 100]
    #[arg(long, value_name = "K,...", value_delimiter = ',', value_parser = at_least_one)]
    map_at_k: Option<Vec<usize>>,

    /// Write the retrieved documents of each query to .jsonl files in the directory of --output
    #[arg(long, requires = "output")]
    write_predictions: bool,

    #[command(flatten)]
    embedding: EmbeddingArgs,
}

/// Fills the fields that both sections have from the flags.
macro_rules! fill {
    ($section:ident, $options:expr, $shared:expr) => {{
        let (options, shared) = ($options, $shared);
        $section {
            limit: options.limit.and_then(NonZeroUsize::new),
            batch_size: shared.batch_size.and_then(NonZeroUsize::new),
            truncate_dim: options.embedding.dimensions(),
            score_functions: options.score_functions.clone(),
            query_prompt: options.query_prompt.clone(),
            query_prompt_name: options.query_prompt_name.clone(),
            corpus_prompt: options.corpus_prompt.clone(),
            corpus_prompt_name: options.corpus_prompt_name.clone(),
            corpus_chunk_size: NonZeroUsize::new(options.corpus_chunk_size),
            mrr_at_k: options.mrr_at_k.clone(),
            ndcg_at_k: options.ndcg_at_k.clone(),
            accuracy_at_k: options.accuracy_at_k.clone(),
            precision_recall_at_k: options.precision_recall_at_k.clone(),
            map_at_k: options.map_at_k.clone(),
            write_predictions: Some(options.write_predictions),
            ..$section::default()
        }
    }};
}

/// Evaluates retrieval from a BEIR directory.
///
/// # Errors
/// If the model or the data set cannot be read, or a file cannot be written.
pub(super) fn run(
    args: &RetrievalArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    let section = InformationRetrievalSection {
        path: args.dataset.clone(),
        split: args.split.clone(),
        name: Some(shared.name.clone()),
        ..fill!(InformationRetrievalSection, &args.options, shared)
    };
    evaluate(&args.options.embedding, shared, console, |options| section.evaluator(options))
}

/// Evaluates retrieval from the collections of NanoBEIR.
///
/// # Errors
/// If --name is given, the model or a collection cannot be read, or a file cannot be written.
pub(super) fn run_nano_beir(
    args: &NanoBeirArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    if !shared.name.is_empty() {
        let message = "--name: the collections of NanoBEIR have names";
        return Err(CliError::usage(message).hint("remove --name").into());
    }
    let section = NanoBEIRSection {
        path: args.dataset.clone(),
        dataset_names: args.dataset_names.clone(),
        ..fill!(NanoBEIRSection, &args.options, shared)
    };
    evaluate(&args.options.embedding, shared, console, |options| section.evaluator(options))
}
