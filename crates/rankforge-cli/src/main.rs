//! The `rankforge` binary: parses the command line, runs one command and prints its error, if any.
#![forbid(unsafe_code)]

mod commands;
mod console;
mod dataset;
mod embedder;
mod embeddings_file;
mod failure;
mod found;
mod index_model;
mod inference;
mod interrupt;
mod lines;
mod lint_text;
mod log_lines;
mod panics;
mod progress;
mod queries;
mod quickstart;
mod signal;
mod table;
mod terminal;
mod texts;
mod tracking;

use clap::{CommandFactory, Parser, Subcommand};
use commands::{
    annotate, community_detection, compare, completions, distill_static, encode, evaluate,
    export_index, index, info, lint, man, merge_adapter, mine, paraphrase_mining, predict, rank,
    search, semantic_search, serve, train,
};
use console::{Console, GlobalArgs};
use std::process::ExitCode;

/// Train, evaluate and use rerankers and dual encoders on the CPU
#[derive(Debug, Parser)]
#[command(
    name = "rankforge",
    arg_required_else_help = true,
    version,
    after_help = OVERVIEW,
    max_term_width = 100
)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    global: GlobalArgs,
}

const OVERVIEW: &str = "\
Workflow:
  rankforge quickstart                 run all steps below on a small built-in collection
  rankforge download OWNER/NAME        get a model or a data set of the Hugging Face Hub
  rankforge info DATASET               show the columns of your (query, passage) pairs
  rankforge lint ...                   find what is wrong with them
  rankforge data ...                   convert, filter and split them
  rankforge mine ...                   mine hard negatives with a dual encoder
  rankforge train RECIPE.toml          train a reranker or a dual encoder
  rankforge compare RUN RUN ...        put runs of training side by side
  rankforge evaluate ...               evaluate it, and compare it with its first stage
  rankforge rank, predict, encode ...  use the models
  rankforge semantic-search ...        find the texts of a file that are nearest to queries
  rankforge paraphrase-mining ...      find the most similar pairs of texts of a file
  rankforge community-detection ...    find groups of similar texts of a file
  rankforge index ...                  index your documents
  rankforge search ...                 search them, and rerank what is found
  rankforge serve ...                  use them over HTTP

Models are local directories in the formats of sentence-transformers and transformers. Data sets are
.jsonl, .csv or .tsv files (also with .gz or .zst), .parquet or .arrow files, or directories of such
files, as save_to_disk writes them, too. Only `rankforge download` downloads.

Results go to standard output. Progress, log lines, warnings and errors go to standard error.
Exit codes: 0 success, 1 error, 2 invalid command line; 130, 143 or 129 when Ctrl-C, SIGTERM or
SIGHUP stopped the command. Training that SIGTERM ends after its first step has written a checkpoint
and exits with 0.
Environment: RANKFORGE_ISA selects the instruction set: scalar, avx2, avx2vnni, avx512, avx512vnni
or avx512bf16 [default: the best one that the CPU supports].";

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(commands::quickstart::QuickstartArgs),
    Mine(Box<mine::MineArgs>),
    Train(train::TrainArgs),
    Compare(compare::CompareArgs),
    Evaluate(evaluate::EvaluateArgs),
    Predict(predict::PredictArgs),
    Rank(rank::RankArgs),
    Encode(encode::EncodeArgs),
    Annotate(annotate::AnnotateArgs),
    SemanticSearch(Box<semantic_search::SemanticSearchArgs>),
    ParaphraseMining(Box<paraphrase_mining::ParaphraseMiningArgs>),
    CommunityDetection(Box<community_detection::CommunityDetectionArgs>),
    Index(Box<index::IndexArgs>),
    Search(Box<search::SearchArgs>),
    ExportIndex(export_index::ExportIndexArgs),
    DistillStatic(distill_static::DistillStaticArgs),
    MergeAdapter(merge_adapter::MergeAdapterArgs),
    Data(commands::data::DataArgs),
    Download(commands::download::DownloadArgs),
    Info(info::InfoArgs),
    Lint(Box<lint::LintArgs>),
    Serve(serve::ServeArgs),
    Completions(completions::CompletionsArgs),
    Man(man::ManArgs),
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    // Before the console, whose bars of progress have a thread.
    let installed = interrupt::install();
    let console = Console::new(&command_line.global);
    panics::silence_readers();
    match installed.and_then(|()| run(&command_line.command, &console)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            console.progress.clear();
            failure::render(&error, &mut std::io::stderr().lock())
        }
    }
}

fn run(command: &Command, console: &Console) -> anyhow::Result<()> {
    match command {
        Command::Quickstart(args) => commands::quickstart::run(args, console),
        Command::Mine(args) => mine::run(args, console),
        Command::Train(args) => train::run(args, console),
        Command::Compare(args) => compare::run(args, console),
        Command::Evaluate(args) => evaluate::run(args, console),
        Command::Predict(args) => predict::run(args, console),
        Command::Rank(args) => rank::run(args, console),
        Command::Encode(args) => encode::run(args, console),
        Command::Annotate(args) => annotate::run(args, console),
        Command::SemanticSearch(args) => semantic_search::run(args, console),
        Command::ParaphraseMining(args) => paraphrase_mining::run(args, console),
        Command::CommunityDetection(args) => community_detection::run(args, console),
        Command::Index(args) => index::run(args, console),
        Command::Search(args) => search::run(args, console),
        Command::ExportIndex(args) => export_index::run(args, console),
        Command::DistillStatic(args) => distill_static::run(args, console),
        Command::Data(args) => commands::data::run(args, console),
        Command::Download(args) => commands::download::run(args, console),
        Command::Lint(args) => lint::run(args, console),
        Command::MergeAdapter(args) => merge_adapter::run(args, console),
        Command::Info(args) => info::run(args, console),
        Command::Serve(args) => serve::run(args, console),
        Command::Completions(args) => completions::run(args, CommandLine::command(), console),
        Command::Man(args) => man::run(args, CommandLine::command(), console),
    }
}
