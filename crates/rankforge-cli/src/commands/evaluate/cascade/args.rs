//! The flags of the command.

use crate::inference::at_least_one;
use rankforge_index::fusion::RRF_K;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in crate::commands::evaluate) struct CascadeArgs {
    /// BEIR directory: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv
    #[arg(long, value_name = "DIR")]
    pub(super) dataset: PathBuf,

    /// Split of the judgements
    #[arg(long, value_name = "NAME", default_value = "test")]
    pub(super) split: String,

    /// Use only the first N queries that have a relevant document [default: all]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(super) limit: Option<usize>,

    /// First stages to compare: bm25, hybrid, or directories of dual encoders or indexes
    ///
    /// bm25 indexes the corpus in memory, in English. hybrid fuses the rankings of BM25 and of a
    /// dual encoder by reciprocal rank: of the one that --model names, or of the only one among the
    /// first stages. An index of the same corpus is searched by its vectors, or by words if it has
    /// none; INDEX:dense, INDEX:bm25 and INDEX:hybrid say how.
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', required = true)]
    pub(super) first_stage: Vec<String>,

    /// Directory of the reranker [default: none, only the first stages are compared]
    #[arg(long, value_name = "DIR")]
    pub(super) rerank: Option<PathBuf>,

    /// Numbers of documents per query that are reranked; the largest is the number retrieved
    #[arg(
        long,
        value_name = "N,M,...",
        value_delimiter = ',',
        default_value = "10,30,100",
        value_parser = at_least_one
    )]
    pub(super) depth: Vec<usize>,

    /// Number of top ranks that NDCG and MRR consider
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = at_least_one)]
    pub(super) at_k: usize,

    /// k of hybrid: a document at rank r of a ranking adds 1 / (k + r) to its score
    #[arg(long, value_name = "K", default_value_t = RRF_K, value_parser = not_negative)]
    pub(super) rrf_k: f64,

    /// Number of bootstrap resamples of the queries for the 95 % intervals
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = at_least_one)]
    pub(super) resamples: usize,

    /// Seed of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 42)]
    pub(super) seed: u64,

    /// Write a report with a plot and example queries to this HTML file
    #[arg(long, value_name = "FILE")]
    pub(super) report: Option<PathBuf>,

    /// Write a TREC run file of each stage into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) trec: Option<PathBuf>,
}

/// Parses a number of at least 0.
fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number >= 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number of at least 0".to_owned()),
    }
}
