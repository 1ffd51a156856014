//! `rankforge search`: searches an index, and reranks what is found.

use crate::console::Console;
use crate::failure::CliError;
use crate::found::{Found, SHOWN, json_line, table};
use crate::index_model::{prepare, stored_load_options};
use crate::inference::{PrecisionArgs, at_least_one};
use crate::queries::{Query, read_queries};
use crate::table::shortened;
use crate::terminal::escaped;
use rankforge::encoder::{
    CrossEncoder, DualEncoder, EncodeOptions, LoadOptions, Packing, PredictOptions,
};
use rankforge::{Precision, Workers};
use rankforge_index::fusion::{CANDIDATES, RRF_K, reciprocal_rank_fusion, weighted_fusion};
use rankforge_index::{Index, IndexError, Neighbour, RankedQuery, rerank, write_run};
use serde_json::json;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// Search an index, and rerank what is found
///
/// Queries are one text, the lines of a file, a column of a data set, or the queries of a BEIR
/// folder. Without any, and at a terminal, queries are asked for one by one.
///
/// Dense search compares the vectors of the index with the embedding of the query, all of them,
/// and gives exact scores. BM25 compares words. Hybrid search does both and fuses the rankings: by
/// reciprocal ranks, or with --weights by scores that are scaled to 0 ... 1 in each ranking.
/// --precision is that of the reranker; the dual encoder has that of the index.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge search --index docs.index --query 'where does the danube end'
  rankforge search --index docs.index --query 'where does the danube end' --mode hybrid \\
      --rerank models/reranker --depth 50 --top-k 5
  rankforge search --index docs.index --queries beir-folder --top-k 100 --trec run.txt")]
pub(crate) struct SearchArgs {
    /// Directory of the index
    #[arg(long, value_name = "DIR")]
    index: PathBuf,

    /// Query
    #[arg(long, value_name = "TEXT", conflicts_with = "queries")]
    query: Option<String>,

    /// Queries: a BEIR folder, a data set, a file of lines, or - for the lines of standard input
    #[arg(long, value_name = "PATH")]
    queries: Option<PathBuf>,

    /// Column with the queries [default: `text`, `query` or `question`]
    #[arg(long, value_name = "NAME", requires = "queries")]
    queries_column: Option<String>,

    /// How to search [default: dense, or bm25 where the index has no vectors]
    #[arg(long, value_name = "NAME", value_enum)]
    mode: Option<Mode>,

    /// Number of texts for each query
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = at_least_one)]
    top_k: usize,

    #[command(flatten)]
    fusion: FusionArgs,

    /// Directory of a reranker, which orders the best texts of each query again
    #[arg(long, value_name = "DIR")]
    rerank: Option<PathBuf>,

    /// Number of texts of each query to rerank [default: 100, or --top-k if that is more]
    #[arg(long, value_name = "N", value_parser = at_least_one, requires = "rerank")]
    depth: Option<usize>,

    /// Write the results as a TREC run file, in place of printing them
    #[arg(long, value_name = "FILE", conflicts_with = "query")]
    trec: Option<PathBuf>,

    /// Compare all files of the index with their checksums first
    #[arg(long)]
    verify: bool,

    #[command(flatten)]
    models: ModelArgs,
}

/// How rankings are fused.
#[derive(Clone, Debug, clap::Args)]
struct FusionArgs {
    /// Constant of reciprocal rank fusion: a text counts as 1 / (N + rank) in each ranking
    #[arg(long, value_name = "N", default_value_t = RRF_K, value_parser = positive)]
    rrf_k: f64,

    /// Weights of dense search and BM25, to fuse scores in place of ranks
    #[arg(long, value_name = "A,B", value_delimiter = ',', conflicts_with = "rrf_k")]
    weights: Option<Vec<f64>>,

    /// Number of texts of each ranking to fuse [default: 100, or more if more are wanted]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    candidates: Option<usize>,
}

/// The models and how they run.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Inference options")]
struct ModelArgs {
    /// Directory of the dual encoder [default: where it was when the index was built]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,

    /// Prompt prepended to each query [default: the model's prompt for queries]
    #[arg(long, value_name = "TEXT", conflicts_with = "prompt_name")]
    prompt: Option<String>,

    /// Name of a prompt in the model's config_sentence_transformers.json, instead of --prompt
    #[arg(long, value_name = "NAME")]
    prompt_name: Option<String>,

    /// Maximum number of texts or pairs in a batch [default: as many as fit into --max-tokens]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    batch_size: Option<usize>,

    /// Maximum number of tokens in a batch; limits memory use and does not change the results
    #[arg(long, value_name = "N", default_value_t = 8192, value_parser = at_least_one)]
    max_tokens: usize,

    #[command(flatten)]
    precision: PrecisionArgs,
}

/// How an index is searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// By vectors
    Dense,
    /// By words
    Bm25,
    /// By both
    Hybrid,
}

/// An open index with the models that its queries need.
struct Search<'a> {
    args: &'a SearchArgs,
    console: &'a Console,
    index: Index,
    mode: Mode,
    workers: Workers,
    encoder: Option<DualEncoder>,
    reranker: Option<CrossEncoder>,
}

/// Runs the command.
///
/// # Errors
/// If the index, the queries or a model cannot be read, the model is not that of the index, or the
/// index lacks what the mode needs.
pub(crate) fn run(args: &SearchArgs, console: &Console) -> anyhow::Result<()> {
    let queries = match (&args.query, &args.queries) {
        (Some(text), _) => Some(vec![Query { id: "1".to_owned(), text: text.clone() }]),
        (None, Some(path)) => Some(read_queries(path, args.queries_column.as_deref())?),
        (None, None) if args.trec.is_none() && std::io::stdin().is_terminal() => None,
        (None, None) => {
            let message = "expected --query or --queries: standard input is no terminal";
            let hint = "--queries - reads the lines of standard input";
            return Err(CliError::usage(message).hint(hint).into());
        }
    };
    let search = Search::open(args, console)?;
    match queries {
        None => search.ask(),
        Some(queries) => search.answer(&queries),
    }
}

impl<'a> Search<'a> {
    fn open(args: &'a SearchArgs, console: &'a Console) -> anyhow::Result<Search<'a>> {
        let index = Index::open(&args.index)?;
        if args.verify {
            index.verify(&*console.progress)?;
        }
        let mode = args.mode.unwrap_or(match index.manifest().vectors {
            Some(_) => Mode::Dense,
            None => Mode::Bm25,
        });
        args.check_mode(mode)?;
        let lacks = |what| IndexError::Lacks { path: args.index.clone(), what };
        if mode != Mode::Dense && index.manifest().bm25.is_none() {
            return Err(lacks("BM25").into());
        }
        let load = stored_load_options(index.manifest(), console.load_options()?)?;
        let device = load.device.clone().map_or_else(|| console.device(), Ok)?;
        let reranker = args.rerank.as_ref().map(|path| {
            let precision = args.models.precision.precision;
            let packing = Packing::Instead;
            let load = LoadOptions { max_length: None, precision, packing, ..load.clone() };
            CrossEncoder::open_with(path, &load)
        });
        let reranker = reranker.transpose()?;
        let encoder = match (&index.manifest().vectors, mode) {
            (_, Mode::Bm25) => None,
            (None, _) => return Err(lacks("vectors").into()),
            (Some(entry), _) => {
                let path = args.models.model.as_ref().unwrap_or(&entry.model.path);
                let load = LoadOptions { packing: Packing::None, ..load };
                Some(prepare(&index, DualEncoder::open_with(path, &load)?)?)
            }
        };
        let workers = device.workers().clone();
        Ok(Search { args, console, index, mode, workers, encoder, reranker })
    }

    /// The texts for each query, best first.
    fn search(&self, queries: &[Query]) -> anyhow::Result<Vec<Vec<Found>>> {
        let args = self.args;
        let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
        let wanted = match self.reranker {
            Some(_) => args.depth.unwrap_or(args.top_k.max(100)),
            None => args.top_k,
        };
        let dense = |k: usize| {
            let options = EncodeOptions {
                batch_size: args.models.batch_size.unwrap_or(usize::MAX),
                max_tokens: args.models.max_tokens,
                prompt: args.models.prompt.clone(),
                prompt_name: args.models.prompt_name.clone(),
                normalize_embeddings: self.normalizes(),
                truncate_dim: self.truncates(),
                reporter: self.console.progress.clone(),
            };
            match &self.encoder {
                Some(encoder) => self.index.search_dense(encoder, &texts, k, &options),
                None => unreachable!("`open` opens the model of every mode but bm25"),
            }
        };
        let bm25 = |k: usize| self.index.search_bm25(&texts, k, &self.workers);
        let mut rankings = match self.mode {
            Mode::Dense => dense(wanted)?,
            Mode::Bm25 => bm25(wanted)?,
            Mode::Hybrid => {
                let k = args.fusion.candidates.unwrap_or(CANDIDATES).max(wanted);
                let (dense, bm25) = (dense(k)?, bm25(k)?);
                let fuse = |(dense, bm25): (&Vec<_>, &Vec<_>)| match &args.fusion.weights {
                    None => Ok(reciprocal_rank_fusion(&[dense, bm25], args.fusion.rrf_k, wanted)),
                    Some(weights) => weighted_fusion(&[dense, bm25], weights, wanted),
                };
                dense.iter().zip(&bm25).map(fuse).collect::<Result<_, _>>()?
            }
        };
        if let Some(model) = &self.reranker {
            let options = PredictOptions {
                batch_size: args.models.batch_size.unwrap_or(usize::MAX),
                max_tokens: args.models.max_tokens,
                reporter: self.console.progress.clone(),
                ..PredictOptions::default()
            };
            rankings = rerank(&self.index, model, &texts, &rankings, &options)?;
        }
        let found = |ranking: Vec<Neighbour>| {
            let best = ranking.into_iter().take(args.top_k);
            best.map(|found| {
                Ok(Found { score: found.score, row: self.index.row(found.index as usize)? })
            })
            .collect()
        };
        rankings.into_iter().map(found).collect()
    }

    fn normalizes(&self) -> bool {
        self.index.manifest().vectors.as_ref().is_some_and(|entry| entry.normalize_embeddings)
    }

    fn truncates(&self) -> Option<usize> {
        self.index.manifest().vectors.as_ref().and_then(|entry| entry.truncate_dim)
    }

    /// Searches all queries and prints or writes the results.
    fn answer(&self, queries: &[Query]) -> anyhow::Result<()> {
        let results = self.search(queries)?;
        if let Some(path) = &self.args.trec {
            let ranked = queries.iter().zip(results).map(|(query, found)| RankedQuery {
                id: query.id.clone(),
                ranking: found.into_iter().map(|found| (found.row.id, found.score)).collect(),
            });
            let ranked: Vec<RankedQuery> = ranked.collect();
            write_run(path, &ranked, &self.tag())?;
            let text = || format!("{} queries\n", ranked.len());
            return self.console.result(text, &json!({ "queries": ranked.len() }));
        }
        for (number, (query, found)) in queries.iter().zip(&results).enumerate() {
            if self.console.json {
                self.console.print_json_text(&json_line(query, found))?;
                continue;
            }
            if queries.len() > 1 {
                let gap = if number > 0 { "\n" } else { "" };
                let heading = format!("{gap}{}: {}\n", query.id, shortened(&query.text, SHOWN));
                self.console.print(&escaped(&heading))?;
            }
            self.console.print(&escaped(&table(found)))?;
        }
        Ok(())
    }

    /// Asks for queries at the terminal until its end.
    fn ask(&self) -> anyhow::Result<()> {
        for number in 1.. {
            write!(std::io::stderr().lock(), "query> ")?;
            let mut line = String::new();
            if std::io::stdin().read_line(&mut line)? == 0 {
                writeln!(std::io::stderr().lock())?;
                break;
            }
            let text = line.trim().to_owned();
            if !text.is_empty() {
                self.answer(&[Query { id: number.to_string(), text }])?;
            }
        }
        Ok(())
    }

    /// Name of the run in a TREC file.
    fn tag(&self) -> String {
        let mode = match self.mode {
            Mode::Dense => "dense",
            Mode::Bm25 => "bm25",
            Mode::Hybrid => "hybrid",
        };
        if self.reranker.is_some() { format!("{mode}+rerank") } else { mode.to_owned() }
    }
}

impl SearchArgs {
    /// Refuses flags without effect.
    fn check_mode(&self, mode: Mode) -> Result<(), CliError> {
        let fusion = &self.fusion;
        let of_fusion = fusion.weights.is_some() || fusion.candidates.is_some();
        if mode != Mode::Hybrid && of_fusion {
            return Err(CliError::usage("--weights and --candidates need --mode hybrid"));
        }
        let models = &self.models;
        let of_model =
            models.model.is_some() || models.prompt.is_some() || models.prompt_name.is_some();
        if mode == Mode::Bm25 && of_model {
            let message = "--model, --prompt and --prompt-name have no effect on --mode bm25";
            return Err(CliError::usage(message));
        }
        if self.rerank.is_none() && models.precision.precision != Precision::Float32 {
            let message = "--precision is that of the reranker and needs --rerank";
            let hint = "the dual encoder has the precision that the index was built with";
            return Err(CliError::usage(message).hint(hint));
        }
        if let Some(depth) = self.depth
            && depth < self.top_k
        {
            let message =
                format!("--depth: expected at least --top-k, {}, got {depth}", self.top_k);
            return Err(CliError::usage(message));
        }
        Ok(())
    }
}

/// Parses a number above 0.
fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}
