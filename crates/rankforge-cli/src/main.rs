//! The `rankforge` binary: reads the command line, runs one command, renders its error.
#![forbid(unsafe_code)]

mod commands;
mod console;
mod dataset;
mod embeddings_file;
mod failure;
mod inference;
mod interrupt;
mod log_lines;
mod mined_cache;
mod progress;
mod quickstart;
mod recipe;
mod table;

use clap::{Parser, Subcommand};
use commands::{encode, evaluate, info, mine, predict, rank, serve, train};
use console::{Console, GlobalArgs};
use std::process::ExitCode;

/// Train, evaluate and use rerankers and dual encoders on the CPU
#[derive(Debug, Parser)]
#[command(name = "rankforge", arg_required_else_help = true, version, after_help = OVERVIEW, max_term_width = 100)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    global: GlobalArgs,
}

const OVERVIEW: &str = "\
The order of work:
  rankforge quickstart                 the whole story on a small collection inside the binary
  rankforge info DATASET               look at the columns of your question and passage pairs
  rankforge mine ...                   find passages that look right to a dual encoder but are not
  rankforge train RECIPE.toml          train a reranker to tell them apart
  rankforge evaluate ...               measure it beside its first stage
  rankforge rank, predict, encode ...  use it
  rankforge serve ...                  use it over HTTP

Models are folders as sentence-transformers and transformers write them; data sets are .jsonl, .csv,
.tsv and .parquet files, or folders of them. Results go to standard output (--json for programs),
progress and messages to standard error. Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.";

#[derive(Debug, Subcommand)]
enum Command {
    Quickstart(commands::quickstart::QuickstartArgs),
    Mine(Box<mine::MineArgs>),
    Train(train::TrainArgs),
    Evaluate(evaluate::EvaluateArgs),
    Predict(predict::PredictArgs),
    Rank(rank::RankArgs),
    Encode(encode::EncodeArgs),
    Info(info::InfoArgs),
    Serve(serve::ServeArgs),
}

fn main() -> ExitCode {
    let command_line = CommandLine::parse();
    let console = Console::new(&command_line.global);
    match interrupt::install().and_then(|()| run(&command_line.command, &console)) {
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
        Command::Evaluate(args) => evaluate::run(args, console),
        Command::Predict(args) => predict::run(args, console),
        Command::Rank(args) => rank::run(args, console),
        Command::Encode(args) => encode::run(args, console),
        Command::Info(args) => info::run(args, console),
        Command::Serve(args) => serve::run(args, console),
    }
}
