//! `rankforge quickstart`: the whole workflow on the embedded collection.

use crate::console::Console;
use crate::failure::CliError;
use crate::inference::at_least_one;
use crate::interrupt::{self, Graceful};
use crate::progress::Progress;
use crate::quickstart::cascade::{self, Sample};
use crate::quickstart::collection::Collection;
use crate::quickstart::matching::untrained_reranker;
use crate::quickstart::training::{NEGATIVES, Setting, train_first_stage, train_reranker};
use crate::table::{Table, thousands};
use anyhow::Context;
use rankforge::Metrics;
use rankforge::base::{DirectoryKind, Reporter, write_atomically};
use rankforge::data::{Beir, RowWriter, Rows};
use rankforge::encoder::{DualEncoder, EncodeOptions, LoadOptions, train_word_piece};
use rankforge::evaluation::{FirstStage, FirstStageOptions, samples_from_first_stage};
use rankforge::mining::{HardNegativeMiner, MiningOptions, OutputFormat};
use rankforge::training::check_destination;
use rankforge_index::Index;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Size of the tokenizer's vocabulary.
const VOCABULARY: usize = 4000;
/// Negatives are taken from this many nearest passages of each question.
const RANGE_MAX: i64 = 20;
/// Number of top ranks that NDCG and MRR consider.
const AT_K: usize = 10;
/// Number of texts or pairs in a batch of inference.
const BATCH: usize = 64;

/// Train and evaluate a reranker on a small built-in collection
///
/// Trains a tokenizer and a dual encoder, mines hard negatives with it, trains a reranker on them,
/// evaluates both models on questions about passages that training has not seen, and indexes and
/// searches those passages. Takes a minute or two on two cores and downloads nothing. Both models
/// are trained from scratch, so the metrics show that the workflow works, not how good a reranker
/// can be.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge quickstart
  rankforge quickstart --output /tmp/quickstart --seed 1 --json")]
pub(crate) struct QuickstartArgs {
    /// Directory for the models and the data
    #[arg(long, value_name = "DIR", default_value = "rankforge-quickstart")]
    output: PathBuf,

    /// Seed of the split, the initial weights and the order of the batches
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// Number of epochs for the reranker
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    num_train_epochs: f64,

    /// Number of passages per question that the dual encoder retrieves for the reranker
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = at_least_one)]
    depth: usize,
}

/// Runs the command.
///
/// # Errors
/// If the directory cannot be written, or the user pressed Ctrl-C.
pub(crate) fn run(args: &QuickstartArgs, console: &Console) -> anyhow::Result<()> {
    if args.output.to_str().is_none() {
        let got = args.output.display();
        let message =
            format!("--output: expected a path in UTF-8, which training needs, got {got}");
        return Err(CliError::usage(message).into());
    }
    let started = Instant::now();
    let graceful = Graceful::begin();
    let stages = Arc::new(Stages { progress: console.progress.clone(), started });
    let reporter: Arc<dyn Reporter> = stages.clone();
    let paths = Paths::create(&args.output)?;
    let setting = Setting {
        seed: args.seed,
        options: LoadOptions {
            seed: args.seed,
            reporter: reporter.clone(),
            ..console.load_options()?
        },
        runs: &paths.runs,
        stop: interrupt::stop(),
    };

    let collection = Collection::read(args.seed)?;
    let (pairs, held_out) = (collection.training_pairs()?, collection.held_out());
    paths.write_data(&pairs, &held_out)?;
    stages.done(1, describe(&collection, &held_out));

    let texts = collection.training_texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokenizer = train_word_piece(&texts, VOCABULARY)?;
    let size = thousands(tokenizer.vocab_size() as u64);
    stages.done(2, format!("tokenizer: {size} word pieces, trained on the training texts"));

    let first = train_first_stage(tokenizer, pairs.clone(), &paths.first_stage, &setting)?;
    graceful.check()?;
    let dimension = first.dimension();
    stages.done(3, format!("first stage: trained a static dual encoder, {dimension} dimensions"));

    let mined = mine(&pairs, &first, &reporter)?;
    graceful.check()?;
    let rows = thousands(mined.len() as u64);
    stages.done(
        4,
        format!("mining: {rows} labeled pairs, up to {NEGATIVES} hard negatives per question"),
    );

    let retrieval = FirstStageOptions {
        depth: args.depth,
        at_k: AT_K,
        encode: EncodeOptions {
            batch_size: BATCH,
            reporter: reporter.clone(),
            ..EncodeOptions::default()
        },
    };
    let retrieved = samples_from_first_stage(&held_out, &first, &retrieval)?;
    let options = &setting.options;
    let reranker = untrained_reranker(&first, &paths.first_stage, &paths.untrained, options)?;
    let untrained = retrieved.rerank(&reranker, BATCH, &reporter)?;
    graceful.check()?;
    stages.done(5, describe_untrained(&retrieved, &untrained));

    let reranker =
        train_reranker(reranker, mined, args.num_train_epochs, &paths.reranker, &setting)?;
    let path = paths.reranker.display();
    stages.done(6, format!("reranker: trained, and saved with its model card to {path}"));

    let trained = retrieved.rerank(&reranker, BATCH, &reporter)?;
    stages.done(7, "evaluation: reranked the candidates of the held-out questions".to_owned());
    graceful.check()?;

    let options = &setting.options;
    let index = cascade::index(&paths.index, &paths.held_out, &first, &paths.first_stage, options)?;
    let sample = retrieved.samples.first().context("no question is held out")?;
    let question = (sample.query.as_str(), sample.positive.as_slice());
    let sample = Sample::search(question, &index, &first, &reranker, args.depth)?;
    stages.done(8, describe_index(&index));

    let comparison = Comparison { first_stage: &retrieved.metrics, untrained, trained };
    let seconds = started.elapsed().as_secs_f64();
    let text = || {
        let head = format!("{} held-out questions, {seconds:.0} s\n", held_out.queries.len());
        format!("{head}{}\n{}\n{}", comparison.table(), sample.table(), paths.next_steps())
    };
    let json = json!({
        "reranker": paths.reranker.to_string_lossy(),
        "first_stage": paths.first_stage.to_string_lossy(),
        "figures": {
            "first_stage": comparison.first_stage,
            "untrained": comparison.untrained,
            "trained": comparison.trained,
        },
        "sample": sample.json(),
        "seconds": seconds,
    });
    console.result(text, &json)
}

fn describe(collection: &Collection, held_out: &Beir) -> String {
    format!(
        "collection: {} passages, {} questions; {} passages and their {} questions are held out",
        collection.passages(),
        collection.questions(),
        collection.held_out_passages(),
        held_out.queries.len()
    )
}

/// Hard negatives for the training questions, as rows of question, passage and label.
fn mine(pairs: &Rows, first: &DualEncoder, reporter: &Arc<dyn Reporter>) -> anyhow::Result<Rows> {
    let options = MiningOptions {
        num_negatives: NEGATIVES as i64,
        range_max: Some(RANGE_MAX),
        output_format: OutputFormat::LabeledPair,
        batch_size: BATCH,
        verbose: false,
        ..MiningOptions::default()
    };
    let reporter = reporter.clone();
    let miner = HardNegativeMiner { options, reporter, ..HardNegativeMiner::new(first) };
    Ok(miner.mine(pairs)?.rows)
}

fn describe_untrained(retrieved: &FirstStage, untrained: &Metrics) -> String {
    let key = format!("ndcg@{AT_K}");
    let value = |metrics: &Metrics| metrics.get(&key).unwrap_or(f64::NAN);
    format!(
        "before training: {key} is {:.3} for the first stage, {:.3} for the untrained reranker",
        value(&retrieved.metrics),
        value(untrained)
    )
}

fn describe_index(index: &Index) -> String {
    format!(
        "index: {} held-out passages, searched by vectors and by words, then reranked",
        index.rows()
    )
}

/// A reporter that prints one line per finished stage. It shows the progress and the warnings of
/// the library, but not its messages.
struct Stages {
    progress: Arc<Progress>,
    started: Instant,
}

impl Stages {
    fn done(&self, stage: usize, text: String) {
        let seconds = self.started.elapsed().as_secs_f64();
        self.progress.message(&format!("[{stage}/8, {seconds:5.1} s] {text}"));
    }
}

impl Reporter for Stages {
    fn begin(&self, task: &str, total: Option<u64>, unit: &str) {
        self.progress.begin(task, total, unit);
    }

    fn advance(&self, amount: u64) {
        self.progress.advance(amount);
    }

    fn end(&self) {
        self.progress.end_quietly();
    }

    fn message(&self, _text: &str) {}

    fn warning(&self, text: &str) {
        self.progress.warning(text);
    }
}

/// How a directory of an earlier quickstart is recognised, whose files may be replaced.
const QUICKSTART: DirectoryKind<'static> = DirectoryKind {
    name: "a directory of the quickstart",
    recognises: &|entries| entries.iter().any(|entry| entry.name == "held-out"),
    owns: &|entry| {
        let folders =
            ["first-stage", "untrained-reranker", "reranker", "runs", "held-out", "index"];
        match entry.is_directory {
            true => folders.contains(&entry.name.as_str()),
            false => entry.name == "pairs.jsonl",
        }
    },
    temporary_prefix: ".quickstart-",
};

/// The paths of all that the quickstart writes.
struct Paths {
    root: PathBuf,
    first_stage: PathBuf,
    untrained: PathBuf,
    reranker: PathBuf,
    runs: PathBuf,
    held_out: PathBuf,
    index: PathBuf,
    pairs: PathBuf,
}

impl Paths {
    /// The paths below `root`; creates the directory of the held-out questions.
    ///
    /// # Errors
    /// If `root` holds files that no quickstart writes, or cannot be written.
    fn create(root: &Path) -> anyhow::Result<Paths> {
        let absolute = root.canonicalize().unwrap_or_else(|_| root.to_owned());
        QUICKSTART.check_replaceable(&absolute)?;
        let paths = Paths {
            root: root.to_owned(),
            first_stage: root.join("first-stage"),
            untrained: root.join("untrained-reranker"),
            reranker: root.join("reranker"),
            runs: root.join("runs"),
            held_out: root.join("held-out"),
            index: root.join("index"),
            pairs: root.join("pairs.jsonl"),
        };
        for model in [&paths.first_stage, &paths.untrained, &paths.reranker] {
            check_destination(model)?;
        }
        std::fs::create_dir_all(paths.held_out.join("qrels"))
            .with_context(|| format!("cannot create {}", root.display()))?;
        if paths.index.exists() {
            std::fs::remove_dir_all(&paths.index)
                .with_context(|| format!("cannot replace {}", paths.index.display()))?;
        }
        Ok(paths)
    }

    /// Writes the training pairs, and the held-out questions as a BEIR directory.
    fn write_data(&self, pairs: &Rows, held_out: &Beir) -> anyhow::Result<()> {
        let mut writer = RowWriter::create(&self.pairs)?;
        writer.write(pairs)?;
        writer.finish()?;
        let lines = |texts: &indexmap::IndexMap<String, String>| -> String {
            texts
                .iter()
                .map(|(id, text)| format!("{}\n", json!({ "_id": id, "text": text })))
                .collect()
        };
        let mut judgements = "query-id\tcorpus-id\tscore\n".to_owned();
        for (query, relevant) in &held_out.relevant {
            for (document, _) in relevant {
                judgements.push_str(&format!("{query}\t{document}\t1\n"));
            }
        }
        self.write("corpus.jsonl", &lines(&held_out.corpus))?;
        self.write("queries.jsonl", &lines(&held_out.queries))?;
        self.write("qrels/test.tsv", &judgements)
    }

    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let path = self.held_out.join(name);
        Ok(write_atomically(&path, text.as_bytes())?)
    }

    fn next_steps(&self) -> String {
        let root = self.root.display();
        format!(
            "Next steps:\n\
             \x20 rankforge search --index {root}/index --query 'What do bees make?' \\\n\
             \x20     --mode hybrid --rerank {root}/reranker --top-k 3\n\
             \x20 rankforge rank --model {root}/reranker --query 'What do bees make?' \\\n\
             \x20     --documents {root}/held-out/corpus.jsonl --top-k 3\n\
             \x20 rankforge evaluate reranking --model {root}/reranker \\\n\
             \x20     --dataset {root}/held-out --first-stage {root}/first-stage \\\n\
             \x20     --always-rerank-positives false\n\
             \x20 rankforge info {root}/reranker\n\
             \x20 rankforge serve --model {root}/reranker\n\
             To train on your own pairs with a pretrained encoder: rankforge train --help\n"
        )
    }
}

/// The metrics of the first stage, and of the reranker before and after training.
struct Comparison<'a> {
    first_stage: &'a Metrics,
    untrained: Metrics,
    trained: Metrics,
}

impl Comparison<'_> {
    fn table(&self) -> Table {
        let mut table =
            Table::new(&["metric", "first stage", "untrained reranker", "trained reranker"]);
        for (name, first_stage) in &self.first_stage.0 {
            let value = |metrics: &Metrics| format!("{:.3}", metrics.get(name).unwrap_or(f64::NAN));
            table.row([
                name.clone(),
                format!("{first_stage:.3}"),
                value(&self.untrained),
                value(&self.trained),
            ]);
        }
        table
    }
}
