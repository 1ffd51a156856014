//! `rankforge train`: from a recipe to a trained reranker.

use crate::console::Console;
use crate::failure::Mistake;
use crate::inference::example_scores;
use crate::interrupt::Graceful;
use crate::log_lines::{LogLines, is_shown, short};
use crate::mined_cache::mined_rows;
use crate::recipe::{DatasetSection, ModelSection, Recipe};
use crate::table::{Table, thousands};
use anyhow::Context;
use rankforge::data::{Rows, load_rows};
use rankforge::encoder::{CrossEncoder, LoadOptions, Reporter};
use rankforge::evaluation::Evaluator;
use rankforge::losses::{Draw, Loss};
use rankforge::model_card::{DatasetName, ModelCardData};
use rankforge::training::{Dataset, ResumeFrom, TrainOutput, Trainer};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Rows that the loss is shown at a time when all are checked.
const CHECKED_TOGETHER: usize = 256;

/// Train a reranker as a recipe says
///
/// A recipe is a TOML file with the sections [model], [dataset], [eval_dataset], [mining], [loss],
/// [arguments], [[evaluators]] and [model_card]; all but the first two may be left out. Fields have the names and
/// defaults of sentence-transformers. Paths, in the recipe as on the command line, are relative to
/// the current directory.
///
/// Checkpoints go to arguments.output_dir, the trained model with its card to `final` in it. Ctrl-C
/// writes a checkpoint and ends; --resume goes on from there and gives the same model to the bit.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge train recipes/stsb.toml
  rankforge train recipes/notebook.toml --set model.path=models/bert \\
      --set arguments.learning_rate=2e-5 --set arguments.output_dir=runs/second
  rankforge train recipes/notebook.toml --resume
  rankforge train recipes/notebook.toml --resume=runs/second/checkpoint-500

A recipe:
  [model]
  path = \"models/all-MiniLM-L6-v2\"
  [dataset]
  path = \"data/pairs.parquet\"
  columns = [\"query\", \"answer\"]
  [mining]
  model = \"models/static\"
  num_negatives = 5
  output_format = \"labeled-pair\"
  [loss]
  name = \"BinaryCrossEntropyLoss\"
  pos_weight = 5
  [arguments]
  output_dir = \"runs/first\"
  num_train_epochs = 1
  [[evaluators]]
  type = \"CrossEncoderRerankingEvaluator\"
  path = \"data/samples.jsonl\"")]
pub(crate) struct TrainArgs {
    /// The recipe
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,

    /// Give a field another value than the recipe; may be repeated
    #[arg(long = "set", value_name = "SECTION.FIELD=VALUE")]
    sets: Vec<String>,

    /// Go on from the newest checkpoint in the output folder, or from the one named
    #[arg(long, value_name = "CHECKPOINT", num_args = 0..=1, require_equals = true)]
    resume: Option<Option<PathBuf>>,

    /// Refused with a hint: the precision of a run is one of its arguments
    #[arg(long, hide = true, value_name = "NAME")]
    precision: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// A recipe, model or data set that cannot be used; a run that failed or was interrupted.
pub(crate) fn run(args: &TrainArgs, console: &Console) -> anyhow::Result<()> {
    if args.precision.is_some() {
        let hint = "set bf16 or fp16 in the recipe's [arguments], or --set arguments.bf16=true";
        return Err(Mistake::usage("train has no flag --precision").hint(hint).into());
    }
    let mut recipe = Recipe::read(&args.recipe, &args.sets)?;
    for warning in &recipe.warnings {
        console.progress.warning(warning);
    }
    if let Some(checkpoint) = &args.resume {
        recipe.arguments.resume_from_checkpoint = Some(match checkpoint {
            Some(path) => ResumeFrom::Path(path.clone()),
            None => ResumeFrom::Newest(true),
        });
    }
    let model = load_model(&recipe.model, recipe.arguments.seed, console)?;
    let evaluators = build_evaluators(&recipe, console)?;
    let (train, eval) = load_data(&recipe, console)?;
    check_rows(&*recipe.loss, &train, "training data")?;
    if let Some(eval) = &eval {
        check_rows(&*recipe.loss, eval, "evaluation data")?;
    }
    describe(&train, eval.as_ref(), console);

    let card = card_data(&recipe);
    let products = model.model().device().product_path(recipe.arguments.precision());
    console.progress.message(&format!("matrix products: {products}"));
    let interruption = Graceful::begin();
    let output_dir = recipe.arguments.output_dir.clone();
    let mut trainer = Trainer::new(model, recipe.arguments, train, recipe.loss, &*console.progress);
    trainer.eval_dataset = eval;
    trainer.evaluators = evaluators;
    trainer.stop = interruption.flag();
    trainer.card = card;
    trainer.callbacks.push(Box::new(LogLines(Arc::clone(&console.progress))));
    trainer.example_scores = Some(example_scores);
    let folder = output_dir.join("final");
    trainer.check_destination(&folder).context("the trained model could not be saved")?;
    let output = trainer.train().map_err(|error| with_way_on(error, args))?;
    trainer.save_model(&folder).context("the trained model cannot be saved")?;
    report(&output, &trainer, &folder, console)
}

fn load_model(
    section: &ModelSection,
    seed: u64,
    console: &Console,
) -> anyhow::Result<CrossEncoder> {
    let options = LoadOptions {
        num_labels: section.num_labels,
        max_length: section.max_length,
        activation_fn: section.activation_fn.map(Into::into),
        classifier_dropout: section.classifier_dropout,
        seed,
        ..console.load_options()?
    };
    CrossEncoder::load(&section.path, &options, &*console.progress).context("cannot use [model]")
}

fn build_evaluators(
    recipe: &Recipe,
    console: &Console,
) -> anyhow::Result<Vec<Box<dyn Evaluator<CrossEncoder>>>> {
    let sections = recipe.evaluators.iter().enumerate();
    let build = |(index, section): (usize, &crate::recipe::EvaluatorSection)| {
        section
            .build(console)
            .with_context(|| format!("cannot use [[evaluators]] number {}", index + 1))
    };
    sections.map(build).collect()
}

/// Training rows and evaluation rows, mined where the recipe says so.
fn load_data(recipe: &Recipe, console: &Console) -> anyhow::Result<(Rows, Option<Rows>)> {
    let folder = recipe.arguments.output_dir.join("mined");
    let load = |section: &DatasetSection, mined: bool, name: &str| match &recipe.mining {
        Some(mining) if mined => mined_rows(section, mining, &folder, name, console),
        _ => Ok(load_rows(&section.location())?),
    };
    let train = load(&recipe.dataset, true, "train").context("cannot use [dataset]")?;
    let mine_eval = recipe.mining.as_ref().is_some_and(|mining| mining.sources.mine_eval_dataset);
    let eval = match &recipe.eval_dataset {
        Some(section) => {
            Some(load(section, mine_eval, "eval").context("cannot use [eval_dataset]")?)
        }
        None if mine_eval => {
            let message = "mining.mine_eval_dataset is set, but there is no [eval_dataset]";
            return Err(Mistake::input(message).into());
        }
        None => None,
    };
    Ok((train, eval))
}

/// Lets the loss see all rows once, so that a bad one is found now and not after hours.
fn check_rows(loss: &dyn Loss, rows: &Rows, what: &str) -> anyhow::Result<()> {
    let dataset = Dataset::new(rows, what)?;
    let draw = Draw { seed: 0, step: 0 };
    let plan = |rows: &[usize]| loss.plan(&dataset.examples(rows), draw).map(drop);
    let numbers: Vec<usize> = (0..rows.len()).collect();
    for chunk in numbers.chunks(CHECKED_TOGETHER) {
        if let Err(error) = plan(chunk) {
            // The loss counts within what it saw; alone, a row tells its own number.
            let row = chunk.iter().find(|row| plan(&[**row]).is_err());
            let row = row.map_or(String::new(), |row| format!(", row {}", row + 1));
            return Err(error).with_context(|| format!("the {what}{row} cannot be used"));
        }
    }
    Ok(())
}

/// What the recipe says of the card, and the data sets' names where it says none.
fn card_data(recipe: &Recipe) -> ModelCardData {
    let mut card = recipe.model_card.clone();
    let named = |section: &DatasetSection| {
        let name = section.path.file_stem().map(|name| name.to_string_lossy().into_owned());
        vec![DatasetName { name, ..DatasetName::default() }]
    };
    if card.train_datasets.is_empty() {
        card.train_datasets = named(&recipe.dataset);
    }
    if let (true, Some(eval)) = (card.eval_datasets.is_empty(), &recipe.eval_dataset) {
        card.eval_datasets = named(eval);
    }
    card
}

fn describe(train: &Rows, eval: Option<&Rows>, console: &Console) {
    let line = |what: &str, rows: &Rows| {
        let count = thousands(rows.len() as u64);
        format!("{what}: {count} rows ({})", rows.column_names().join(", "))
    };
    console.progress.message(&line("training data", train));
    if let Some(eval) = eval {
        console.progress.message(&line("evaluation data", eval));
    }
}

/// An interruption, with the command that goes on.
fn with_way_on(error: rankforge::Error, args: &TrainArgs) -> anyhow::Error {
    match error {
        rankforge::Error::Interrupted(message) => {
            let sets = args.sets.iter().map(|set| format!(" --set {}", quoted(set)));
            let sets: String = sets.collect();
            let recipe = quoted(&args.recipe.to_string_lossy());
            let way_on = format!("rankforge train {recipe}{sets} --resume goes on from there");
            Mistake::interrupted(message).hint(way_on).into()
        }
        other => other.into(),
    }
}

/// A word for the shell, in quotes where it needs them.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_=./,:+".contains(letter);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Prints what the run found.
fn report(
    output: &TrainOutput,
    trainer: &Trainer<'_, CrossEncoder>,
    folder: &Path,
    console: &Console,
) -> anyhow::Result<()> {
    let last_evaluation = trainer
        .state
        .log_history
        .iter()
        .rev()
        .find(|record| record.keys().any(|name| name.starts_with("eval_")));
    let text = || {
        let mut table = Table::new(&["figure", "value"]);
        table.row(["steps", &thousands(output.global_step)]);
        table.row(["training_loss", &format!("{:.4}", output.training_loss)]);
        for (name, value) in &output.metrics.0 {
            if name != "train_loss" && is_shown(name) {
                table.row([name.as_str(), &short(*value)]);
            }
        }
        for (name, value) in last_evaluation.into_iter().flatten() {
            if let (true, Some(value)) = (is_shown(name), value.as_f64()) {
                table.row([name.as_str(), &short(value)]);
            }
        }
        format!("{table}\nThe trained model: {}\n", folder.display())
    };
    let json = json!({
        "model": folder,
        "global_step": output.global_step,
        "training_loss": output.training_loss,
        "metrics": output.metrics,
        "evaluation": last_evaluation,
        "best_model_checkpoint": trainer.state.best_model_checkpoint,
    });
    console.result(text, &json)
}
