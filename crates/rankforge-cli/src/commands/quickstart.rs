//! `rankforge quickstart`: the whole story on the collection inside the binary.

use crate::console::Console;
use crate::inference::{at_least_one, printable};
use crate::interrupt::Graceful;
use crate::quickstart::{
    Collection, NEGATIVES, Setting, train_first_stage, train_reranker, untrained_reranker,
};
use crate::table::{Table, shortened, thousands};
use anyhow::Context;
use rankforge::Metrics;
use rankforge::data::{Beir, Rows};
use rankforge::encoder::{
    CrossEncoder, DualEncoder, PredictOptions, Ranked, Reporter, train_word_piece,
};
use rankforge::evaluation::{Candidates, FirstStage, samples_from_first_stage};
use rankforge::mining::{MiningOptions, OutputFormat, mine_hard_negatives};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Word pieces of the tokenizer.
const VOCABULARY: usize = 4000;
/// Negatives come from so many of the nearest passages.
const RANGE_MAX: i64 = 20;
/// Where NDCG and MRR are cut.
const AT_K: usize = 10;
/// Texts or pairs in a batch where nothing is trained.
const BATCH: usize = 64;
/// Letters of a passage in the table.
const SHOWN: usize = 72;

/// Run the whole story on a small collection inside the binary
///
/// Learns a tokenizer, trains a dual encoder, mines hard negatives with it, trains a reranker on
/// them and measures both on questions about passages that training has not seen, in under three
/// minutes on two cores. Nothing is downloaded: both models start without any pretraining, so the
/// figures show that the work works, not how good rerankers are.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge quickstart
  rankforge quickstart --output /tmp/quickstart --seed 1 --json")]
pub(crate) struct QuickstartArgs {
    /// Where models and data go
    #[arg(long, value_name = "FOLDER", default_value = "rankforge-quickstart")]
    output: PathBuf,

    /// Seed of the split, of the first weights and of the batches
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,

    /// Epochs of the reranker
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    num_train_epochs: f64,

    /// Passages that the first stage hands to the reranker
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = at_least_one)]
    depth: usize,
}

/// Runs the command.
///
/// # Errors
/// A folder that cannot be written, or an interruption.
pub(crate) fn run(args: &QuickstartArgs, console: &Console) -> anyhow::Result<()> {
    let begun = Instant::now();
    let interruption = Graceful::begin();
    let stages = Stages { console, begun };
    let folder = Folder::create(&args.output)?;
    let setting = Setting {
        seed: args.seed,
        options: rankforge::encoder::LoadOptions { seed: args.seed, ..console.load_options()? },
        runs: &folder.runs,
        stop: interruption.flag(),
        reporter: &stages,
    };

    let collection = Collection::read(args.seed)?;
    let (pairs, held_out) = (collection.training_pairs()?, collection.held_out());
    folder.write_data(&pairs, &held_out)?;
    stages.done(1, describe(&collection, &held_out));

    let texts = collection.training_texts();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokenizer = train_word_piece(&texts, VOCABULARY)?;
    let pieces = thousands(tokenizer.vocab_size() as u64);
    stages.done(2, format!("tokenizer: {pieces} word pieces, learned from the training text"));

    let first = train_first_stage(tokenizer, pairs.clone(), &folder.first_stage, &setting)?;
    interruption.check()?;
    stages
        .done(3, format!("first stage: a static dual encoder of {} dimensions", first.dimension()));

    let mined = mine(&pairs, &first, &stages)?;
    interruption.check()?;
    let rows = thousands(mined.len() as u64);
    stages.done(4, format!("mined: {rows} labeled pairs, {NEGATIVES} hard negatives a question"));

    let retrieved = samples_from_first_stage(&held_out, &first, args.depth, AT_K, BATCH, &stages)?;
    let options = &setting.options;
    let reranker = untrained_reranker(&first, &folder.first_stage, &folder.untrained, options)?;
    let untrained = retrieved.rerank(&reranker, BATCH, &stages)?;
    interruption.check()?;
    stages.done(5, before(&retrieved, &untrained));

    let reranker =
        train_reranker(reranker, mined, args.num_train_epochs, &folder.reranker, &setting)?;
    stages.done(
        6,
        format!("reranker: trained and saved with its card, {}", folder.reranker.display()),
    );

    let trained = retrieved.rerank(&reranker, BATCH, &stages)?;
    stages.done(7, "evaluation: the held-out questions, ranked once more".to_owned());

    let sample = Sample::rank(&retrieved, &reranker)?;
    let figures = Figures { first_stage: &retrieved.metrics, untrained, trained };
    let seconds = begun.elapsed().as_secs_f64();
    let text = || {
        let head = format!("{} held-out questions, {seconds:.0} s\n", held_out.queries.len());
        format!("{head}{}\n{}\n{}", figures.table(), sample.table(), folder.next_steps())
    };
    let json = json!({
        "reranker": folder.reranker,
        "first_stage": folder.first_stage,
        "figures": {
            "first_stage": figures.first_stage,
            "untrained": figures.untrained,
            "trained": figures.trained,
        },
        "sample": sample.json(),
        "seconds": seconds,
    });
    console.result(text, &json)
}

fn describe(collection: &Collection, held_out: &Beir) -> String {
    format!(
        "collection: {} passages, {} questions; {} passages with their {} questions are held out",
        collection.passages(),
        collection.questions(),
        collection.held_out_passages(),
        held_out.queries.len()
    )
}

fn mine(pairs: &Rows, first: &DualEncoder, stages: &Stages<'_>) -> anyhow::Result<Rows> {
    let options = MiningOptions {
        num_negatives: NEGATIVES as i64,
        range_max: Some(RANGE_MAX),
        output_format: OutputFormat::LabeledPair,
        batch_size: BATCH,
        verbose: false,
        ..MiningOptions::default()
    };
    Ok(mine_hard_negatives(pairs, first, &options, None, None, stages)?.rows)
}

fn before(retrieved: &FirstStage, untrained: &Metrics) -> String {
    let key = format!("ndcg@{AT_K}");
    let of = |metrics: &Metrics| metrics.get(&key).unwrap_or(f64::NAN);
    format!(
        "before training: {key} {:.3} by the first stage, {:.3} by the untrained reranker",
        of(&retrieved.metrics),
        of(untrained)
    )
}

/// Says when a stage is done; of the libraries' reports it passes on progress and warnings alone.
struct Stages<'a> {
    console: &'a Console,
    begun: Instant,
}

impl Stages<'_> {
    fn done(&self, stage: usize, text: String) {
        let seconds = self.begun.elapsed().as_secs_f64();
        self.console.progress.message(&format!("[{stage}/7, {seconds:5.1} s] {text}"));
    }
}

impl Reporter for Stages<'_> {
    fn begin(&self, task: &str, total: Option<u64>, unit: &str) {
        self.console.progress.begin(task, total, unit);
    }

    fn advance(&self, amount: u64) {
        self.console.progress.advance(amount);
    }

    fn end(&self) {
        self.console.progress.end_quietly();
    }

    fn message(&self, _text: &str) {}

    fn warning(&self, text: &str) {
        self.console.progress.warning(text);
    }
}

/// Where everything goes.
struct Folder {
    root: PathBuf,
    first_stage: PathBuf,
    untrained: PathBuf,
    reranker: PathBuf,
    runs: PathBuf,
    held_out: PathBuf,
    pairs: PathBuf,
}

impl Folder {
    fn create(root: &Path) -> anyhow::Result<Folder> {
        let folder = Folder {
            root: root.to_owned(),
            first_stage: root.join("first-stage"),
            untrained: root.join("untrained-reranker"),
            reranker: root.join("reranker"),
            runs: root.join("runs"),
            held_out: root.join("held-out"),
            pairs: root.join("pairs.jsonl"),
        };
        std::fs::create_dir_all(folder.held_out.join("qrels"))
            .with_context(|| format!("cannot create {}", root.display()))?;
        Ok(folder)
    }

    /// The training pairs, and the held-out questions as a BEIR folder.
    fn write_data(&self, pairs: &Rows, held_out: &Beir) -> anyhow::Result<()> {
        crate::commands::mine::write_rows(pairs, &self.pairs)?;
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
        let write = || -> std::io::Result<()> {
            let mut file = tempfile::NamedTempFile::new_in(&self.root)?;
            std::io::Write::write_all(&mut file, text.as_bytes())?;
            file.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    fn next_steps(&self) -> String {
        let root = self.root.display();
        format!(
            "What to try next:\n\
             \x20 rankforge rank --model {root}/reranker --query 'What do bees make?' \\\n\
             \x20     --documents {root}/held-out/corpus.jsonl --top-k 3\n\
             \x20 rankforge evaluate reranking --model {root}/reranker --dataset {root}/held-out \\\n\
             \x20     --first-stage {root}/first-stage --always-rerank-positives false\n\
             \x20 rankforge info {root}/reranker\n\
             \x20 rankforge serve --model {root}/reranker\n\
             With your own pairs and a pretrained encoder: rankforge train --help\n"
        )
    }
}

/// The figures before and after.
struct Figures<'a> {
    first_stage: &'a Metrics,
    untrained: Metrics,
    trained: Metrics,
}

impl Figures<'_> {
    fn table(&self) -> Table {
        let mut table =
            Table::new(&["figure", "first stage", "untrained reranker", "trained reranker"]);
        for (name, value) in &self.first_stage.0 {
            let of = |metrics: &Metrics| format!("{:.3}", metrics.get(name).unwrap_or(f64::NAN));
            table.row([
                name.clone(),
                format!("{value:.3}"),
                of(&self.untrained),
                of(&self.trained),
            ]);
        }
        table
    }
}

/// A question that training has not seen, and its three best passages.
struct Sample<'a> {
    query: &'a str,
    positive: &'a [String],
    documents: Vec<&'a str>,
    ranking: Vec<Ranked>,
}

impl<'a> Sample<'a> {
    fn rank(retrieved: &'a FirstStage, reranker: &CrossEncoder) -> anyhow::Result<Sample<'a>> {
        let sample = retrieved.samples.first().context("no question is held out")?;
        let documents: Vec<&str> = match &sample.candidates {
            Candidates::Documents(texts) | Candidates::Negative(texts) => {
                texts.iter().map(String::as_str).collect()
            }
        };
        let (query, options) = (sample.query.as_str(), PredictOptions::default());
        let silent = &rankforge::encoder::Silent;
        let ranking = reranker.rank(query, &documents, Some(3), &options, silent)?;
        Ok(Sample { query, positive: &sample.positive, documents, ranking })
    }

    fn table(&self) -> String {
        let mut table = Table::new(&["rank", "score", "answers", "passage"]);
        for (rank, ranked) in self.ranking.iter().enumerate() {
            let text = self.documents[ranked.corpus_id];
            let answers = self.positive.iter().any(|positive| positive == text);
            table.row([
                (rank + 1).to_string(),
                format!("{:.4}", ranked.score),
                if answers { "yes" } else { "no" }.to_owned(),
                shortened(text, SHOWN),
            ]);
        }
        format!("{}\n{table}", self.query)
    }

    fn json(&self) -> serde_json::Value {
        let passages: Vec<_> = self
            .ranking
            .iter()
            .map(|ranked| {
                let (text, score) = (self.documents[ranked.corpus_id], printable(ranked.score));
                let answers = self.positive.iter().any(|positive| positive == text);
                json!({ "score": score, "answers": answers, "text": text })
            })
            .collect();
        json!({ "question": self.query, "passages": passages })
    }
}
