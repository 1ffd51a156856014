//! `rankforge evaluate nanobeir`, for either kind of model.

use crate::commands::evaluate::dual_encoder::{evaluate, is_evaluated_as_dual_encoder};
use crate::commands::evaluate::reranker::Reranker;
use crate::commands::evaluate::reranking::before_and_after;
use crate::commands::evaluate::retrieval::{RetrievalOptions, nano_beir};
use crate::commands::evaluate::shared::SharedArgs;
use crate::console::Console;
use crate::failure::CliError;
use crate::inference::at_least_one;
use rankforge::evaluation::Evaluator;
use rankforge::recipe::NanoBEIRRerankingSection;
use std::num::NonZeroUsize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct NanoBeirArgs {
    /// Directory of the collections
    #[arg(long, value_name = "DIR")]
    dataset: PathBuf,

    /// Names of the collections, such as msmarco,nq [default: all that the directory has]
    ///
    /// Without it, a reranker leaves out arguana and touche2020, as sentence-transformers does.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    dataset_names: Option<Vec<String>>,

    /// Number of documents per query that a reranker orders again [default: 100]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    rerank_k: Option<usize>,

    /// Number of top ranks that MRR and NDCG of a reranker consider [default: 10]
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    at_k: Option<usize>,

    /// Whether a reranker ranks positives that BM25 missed with its documents [default: true]
    #[arg(long, value_name = "BOOL", action = clap::ArgAction::Set)]
    always_rerank_positives: Option<bool>,

    #[command(flatten)]
    options: RetrievalOptions,
}

/// Evaluates a dual encoder or a reranker on the collections of NanoBEIR.
///
/// # Errors
/// If --name is given, flags do not fit the kind of the model, the model or a collection cannot be
/// read, or a file cannot be written.
pub(super) fn run(
    args: &NanoBeirArgs,
    shared: &SharedArgs,
    console: &Console,
) -> anyhow::Result<()> {
    if !shared.name.is_empty() {
        let message = "--name: the collections of NanoBEIR have names";
        return Err(CliError::usage(message).hint("remove --name").into());
    }
    let path = shared.model("the directory of the model")?;
    if !is_evaluated_as_dual_encoder(path, console)? {
        return run_reranker(args, shared, console);
    }
    let of_rerankers = [
        ("--rerank-k", args.rerank_k.is_some()),
        ("--at-k", args.at_k.is_some()),
        ("--always-rerank-positives", args.always_rerank_positives.is_some()),
    ];
    if let Some((flag, _)) = of_rerankers.iter().find(|(_, given)| *given) {
        let message = format!("{flag} is for rerankers, and --model is a dual encoder");
        return Err(CliError::usage(message).hint(format!("remove {flag}")).into());
    }
    let options = &args.options;
    let section = nano_beir(&args.dataset, args.dataset_names.as_deref(), options, shared);
    evaluate(&options.embedding, shared, console, |options| section.evaluator(options))
}

fn run_reranker(args: &NanoBeirArgs, shared: &SharedArgs, console: &Console) -> anyhow::Result<()> {
    if let Some(flag) = args.options.given() {
        let message = format!("{flag} is for dual encoders, and --model is a reranker");
        return Err(CliError::usage(message).hint(format!("remove {flag}")).into());
    }
    let reranker = Reranker::new(shared, console)?;
    let section = NanoBEIRRerankingSection {
        path: args.dataset.clone(),
        dataset_names: args.dataset_names.clone(),
        rerank_k: args.rerank_k.and_then(NonZeroUsize::new),
        at_k: args.at_k.and_then(NonZeroUsize::new),
        always_rerank_positives: args.always_rerank_positives,
        limit: args.options.limit.and_then(NonZeroUsize::new),
        batch_size: shared.batch_size.and_then(NonZeroUsize::new),
        write_csv: None,
    };
    let evaluator = section.evaluator(&reranker.base)?;
    let metrics = evaluator.evaluate(&reranker.open()?, &shared.context(console))?;
    let text = || {
        let mut text =
            "Binary gain. The first stage is BM25. Of equal scores, MRR ranks the later \
                        document\nfirst; MAP and NDCG take the mean of the group.\n"
                .to_owned();
        text.push_str(&before_and_after("", &metrics));
        text
    };
    console.result(text, &metrics)
}
