//! `rankforge train`: trains a reranker or a dual encoder from a recipe.

use crate::console::Console;
use crate::failure::CliError;
use crate::interrupt;
use crate::log_lines::{LogLines, is_shown, short};
use crate::signal;
use crate::table::{Table, thousands};
use crate::tracking;
use rankforge::Error;
use rankforge::base::Reporter;
use rankforge::data::has_known_extension;
use rankforge::recipe::{Override, Recipe};
use rankforge::training::{ResumeFrom, TrainOutput};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Train a reranker or a dual encoder from a recipe
///
/// A recipe is a TOML file with the sections [model], [lora], [dataset], [eval_dataset], [mining],
/// [loss], [arguments], [[evaluators]] and [model_card]. Only [model] and [dataset] are required.
/// Fields have the names and defaults of sentence-transformers. Paths are relative to the current
/// directory, in the recipe too. kind = "dual-encoder" in [model] trains a dual encoder. [lora]
/// trains low-rank adapters, with the fields of peft's LoraConfig. [datasets.NAME] and
/// [eval_datasets.NAME] hold several data sets, each with a loss of its own.
///
/// Checkpoints go to arguments.output_dir, and the trained model with its model card to the
/// directory `final` in it. Ctrl-C saves a checkpoint and exits. --resume continues from it, and
/// the final model has the same bits as that of an uninterrupted run. SIGTERM does the same with
/// exit code 0, as clusters send it before they take a machine away; while negatives are mined,
/// when there is nothing yet to continue from, it exits with 143.
///
/// recipe.toml in arguments.output_dir is the recipe of the run with every argument and override,
/// run.json beside it the hashes of its model and data, and where it ran. `rankforge train` of that
/// recipe trains the same bits again, and warns if something is another than it was. log.jsonl is
/// the log, one JSON object a line, while the run goes on; arguments.report_to names trackers that
/// get it too (tensorboard, mlflow, wandb).
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  rankforge train recipes/one-hour.toml --set dataset.path=pairs.jsonl
  rankforge train recipes/stsb.toml
  rankforge train recipes/notebook.toml --set model.path=models/bert \\
      --set arguments.learning_rate=2e-5 --set arguments.output_dir=runs/second
  rankforge train recipes/notebook.toml --resume
  rankforge train recipes/notebook.toml --resume=runs/second/checkpoint-500

A recipe for pairs of query and passage without labels (recipes/one-hour.toml):
  [model]
  path = \"models/all-MiniLM-L6-v2\"
  num_labels = 1
  max_length = 128
  [dataset]
  path = \"data/pairs.jsonl\"
  columns = [\"query\", \"answer\"]
  [mining]
  model = \"models/all-MiniLM-L6-v2\"
  num_negatives = 4
  range_max = 40
  relative_margin = 0.05
  sampling_strategy = \"random\"
  output_format = \"n-tuple\"
  [loss]
  name = \"MultipleNegativesRankingLoss\"
  num_negatives = 3
  [arguments]
  output_dir = \"runs/one-hour\"
  max_steps = 600
  per_device_train_batch_size = 16
  learning_rate = 1e-4
  warmup_steps = 0.1
  bf16 = true
  batch_sampler = \"no_duplicates\"
  save_steps = 150
  save_total_limit = 2
  logging_steps = 25")]
pub(crate) struct TrainArgs {
    /// File of the recipe
    #[arg(value_name = "RECIPE.toml")]
    recipe: PathBuf,

    /// Override a field of the recipe; may be repeated
    #[arg(long = "set", value_name = "SECTION.FIELD=VALUE")]
    sets: Vec<Override>,

    /// Resume from CHECKPOINT, or from the newest checkpoint in arguments.output_dir
    #[arg(long, value_name = "CHECKPOINT", num_args = 0..=1, require_equals = true)]
    resume: Option<Option<PathBuf>>,

    /// Always an error, with a hint: training takes its precision from the recipe
    #[arg(long, hide = true, value_name = "NAME")]
    precision: Option<String>,
}

/// Runs the command.
///
/// # Errors
/// If the recipe, a model or a data set cannot be used, or the run fails or is interrupted.
pub(crate) fn run(args: &TrainArgs, console: &Console) -> anyhow::Result<()> {
    if args.precision.is_some() {
        let hint =
            "set bf16 or fp16 in [arguments] of the recipe, or use --set arguments.bf16=true";
        return Err(CliError::usage("--precision: not an option of train").hint(hint).into());
    }
    refuse_data_set(&args.recipe)?;
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
    recipe.working_directory = std::env::current_dir().ok();
    recipe.tracking.environment = tracking::environment();
    let mut run = recipe.prepare(&console.load_options()?, &interrupt::stop())?;
    run.trainer.callbacks().push(Box::new(LogLines::new(Arc::clone(&console.progress))));
    match run.run() {
        Ok(output) => report(&output, &run.destination, console),
        Err(error @ Error::Interrupted { .. }) if signal::is_sigterm() => {
            console.progress.message(&error.to_string());
            console.progress.message(&resume_command(&error, args).unwrap_or_default());
            Ok(())
        }
        Err(error) => Err(with_resume_hint(error, args)),
    }
}

/// Checks that `path` is not a data set. The hint of the error is the command that trains on one.
fn refuse_data_set(path: &Path) -> Result<(), CliError> {
    if !(path.is_dir() || has_known_extension(path)) {
        return Ok(());
    }
    let path = path.display();
    let command = format!(
        "rankforge train recipes/one-hour.toml --set dataset.path={}",
        quoted(&path.to_string())
    );
    Err(CliError::input(format!("{path}: expected a recipe (.toml), got a data set"))
        .hint(format!("to train a reranker on pairs of query and passage: {command}")))
}

/// Adds the command that resumes the run to the error of an interruption.
fn with_resume_hint(error: Error, args: &TrainArgs) -> anyhow::Error {
    match resume_command(&error, args) {
        Some(hint) => CliError::interrupted(error.to_string()).hint(hint).into(),
        None => error.into(),
    }
}

/// How to resume a run that was interrupted.
fn resume_command(error: &Error, args: &TrainArgs) -> Option<String> {
    let Error::Interrupted { checkpoint, .. } = error else { return None };
    let sets = args.sets.iter().map(|set| format!(" --set {}", quoted(&set.to_string())));
    let sets: String = sets.collect();
    let recipe = quoted(&args.recipe.to_string_lossy());
    let checkpoint = quoted(&checkpoint.to_string_lossy());
    Some(format!("to resume, run: rankforge train {recipe}{sets} --resume={checkpoint}"))
}

/// A word of a shell command, quoted if necessary.
fn quoted(word: &str) -> String {
    let plain =
        |character: char| character.is_ascii_alphanumeric() || "-_=./,:+".contains(character);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Prints the metrics of the run and the directory of the model.
fn report(output: &TrainOutput, directory: &Path, console: &Console) -> anyhow::Result<()> {
    let evaluation = output.evaluation();
    let page = directory.parent().map(|folder| folder.join("report.html"));
    let page = page.filter(|page| page.is_file());
    let text = || {
        let mut table = Table::new(&["metric", "value"]);
        table.row(["steps", &thousands(output.global_step)]);
        table.row(["training_loss", &format!("{:.4}", output.training_loss)]);
        for (name, value) in &output.metrics.0 {
            if name != "train_loss" && is_shown(name) {
                table.row([name.as_str(), &short(*value)]);
            }
        }
        for (name, value) in evaluation.into_iter().flatten() {
            if let (true, Some(value)) = (is_shown(name), value.as_f64()) {
                table.row([name.as_str(), &short(value)]);
            }
        }
        let page = match &page {
            Some(page) => format!("Report: {}\n", page.display()),
            None => String::new(),
        };
        format!("{table}\nTrained model: {}\n{page}", directory.display())
    };
    let best = output.state.best_model_checkpoint.as_deref();
    let json = json!({
        "model": directory.to_string_lossy(),
        "global_step": output.global_step,
        "training_loss": output.training_loss,
        "metrics": output.metrics,
        "model_step": output.model_step,
        "evaluation": evaluation,
        "report": page.as_ref().map(|page| page.to_string_lossy()),
        "best_model_checkpoint": best.map(|path| path.to_string_lossy()),
    });
    console.result(text, &json)
}
