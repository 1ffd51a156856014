//! `rankforge evaluate retrieval`, and what it shares with `rankforge evaluate nanobeir`.

use crate::commands::evaluate::dual_encoder::{EmbeddingArgs, evaluate, similarity};
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;
use crate::inference::at_least_one;
use rankforge::recipe::{InformationRetrievalSection, NanoBEIRSection, SimilarityName};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

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

/// The flags of retrieval by a dual encoder.
#[derive(Debug, clap::Args)]
pub(super) struct RetrievalOptions {
    /// Evaluate only the first N queries [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) limit: Option<usize>,

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
    pub(super) embedding: EmbeddingArgs,
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

/// The evaluator of the collections `dataset_names` of NanoBEIR in `path`.
pub(super) fn nano_beir(
    path: &Path,
    dataset_names: Option<&[String]>,
    options: &RetrievalOptions,
    shared: &SharedArgs,
) -> NanoBEIRSection {
    NanoBEIRSection {
        path: path.to_owned(),
        dataset_names: dataset_names.map(<[String]>::to_vec),
        ..fill!(NanoBEIRSection, options, shared)
    }
}

impl RetrievalOptions {
    /// The first flag that was given and that only retrieval by a dual encoder has.
    pub(super) fn given(&self) -> Option<&'static str> {
        let ranks = |ranks: &Option<Vec<usize>>| ranks.is_some();
        let flags = [
            ("--score-functions", !self.score_functions.is_empty()),
            ("--query-prompt", self.query_prompt.is_some()),
            ("--query-prompt-name", self.query_prompt_name.is_some()),
            ("--corpus-prompt", self.corpus_prompt.is_some()),
            ("--corpus-prompt-name", self.corpus_prompt_name.is_some()),
            ("--mrr-at-k", ranks(&self.mrr_at_k)),
            ("--ndcg-at-k", ranks(&self.ndcg_at_k)),
            ("--accuracy-at-k", ranks(&self.accuracy_at_k)),
            ("--precision-recall-at-k", ranks(&self.precision_recall_at_k)),
            ("--map-at-k", ranks(&self.map_at_k)),
            ("--write-predictions", self.write_predictions),
            ("--truncate-dim", !self.embedding.dimensions().0.is_empty()),
        ];
        flags.into_iter().find_map(|(flag, given)| given.then_some(flag))
    }
}
