use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::model_card::EvaluationResult;
use crate::trainer_state::{TrainerState, with_sorted_keys};
use crate::training::definition::RunDefinition;
use crate::training::loss_scaler::LossScaler;
use crate::training::optimizers::Optimizers;
use crate::training::position::Position;
use rankforge_base::{DirectoryKind, FileError, replace_directory, write_atomically};
use rankforge_encoder::{TextModel, is_model_entry};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const OPTIMIZER: &str = "optimizer.safetensors";
const SCHEDULER: &str = "scheduler.json";
const SCALER: &str = "scaler.json";
const RNG_STATE: &str = "rng_state.json";
const SAMPLER: &str = "sampler.json";
pub(super) const RUN: &str = "run.json";
pub(super) const STATE: &str = "trainer_state.json";
const ARGUMENTS: &str = "training_args.json";

/// The files of a checkpoint besides those of the model.
const RUN_FILES: [&str; 8] =
    [OPTIMIZER, SCHEDULER, SCALER, RNG_STATE, SAMPLER, RUN, STATE, ARGUMENTS];

/// Prefix of the temporary names of checkpoints that are being written. These are never read.
const TEMPORARY: &str = ".incomplete-";

/// What a checkpoint contains besides the model.
pub(crate) struct Snapshot<'a> {
    pub(crate) optimizer: &'a Optimizers,
    pub(crate) state: &'a TrainerState,
    pub(crate) position: &'a Position,
    pub(crate) definition: &'a RunDefinition,
    pub(crate) evaluations: &'a [EvaluationResult],
    pub(crate) loss_scaler: Option<&'a LossScaler>,
    pub(crate) arguments: &'a TrainingArguments,
    pub(crate) last_learning_rate: f64,
    pub(crate) warmup: u64,
}

/// The content of a checkpoint, except for the parameters and the optimizer's moments.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Directory of the checkpoint.
    pub path: PathBuf,
    /// State of the trainer.
    pub state: TrainerState,
    /// Position in the training data.
    pub position: Position,
    /// Arguments of the run that wrote the checkpoint.
    pub arguments: TrainingArguments,
    /// Loss scale, if that run computed in fp16.
    pub loss_scaler: Option<LossScaler>,
    /// What defines the run, and its latest evaluations. `None` in a checkpoint of a version that
    /// did not write them.
    pub run: Option<RunFile>,
}

/// The content of `run.json`, which has no counterpart among the files of transformers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunFile {
    /// Model, losses and data of the run.
    pub definition: RunDefinition,
    /// The latest result of each evaluator.
    pub evaluations: Vec<EvaluationResult>,
}

/// Writes `output_dir/checkpoint-STEP` under a temporary name, and renames it when it is complete.
/// With `only_model`, it contains the model, its card, the arguments and the state.
///
/// # Errors
/// A file that cannot be written. The temporary directory is removed in this case.
pub(crate) fn save<M: TextModel>(
    model: &M,
    card: &str,
    snapshot: &Snapshot<'_>,
    only_model: bool,
) -> Result<PathBuf, Error> {
    let target = checkpoint_path(&snapshot.arguments.output_dir, snapshot.state.global_step);
    replace_directory(&target, &CHECKPOINT, |directory| {
        model.save_files(directory, Some(card))?;
        if !only_model {
            snapshot.optimizer.save(&directory.join(OPTIMIZER))?;
            write_json(&directory.join(SCHEDULER), &scheduler(snapshot))?;
            if let Some(scaler) = snapshot.loss_scaler {
                write_json(&directory.join(SCALER), scaler)?;
            }
            let arguments = snapshot.arguments;
            let random = json!({
                "seed": arguments.seed,
                "data_seed": arguments.data_seed.unwrap_or(arguments.seed),
                "micro_batches": snapshot.position.micro_batches,
            });
            write_json(&directory.join(RNG_STATE), &random)?;
            write_json(&directory.join(SAMPLER), snapshot.position)?;
        }
        let run = json!({
            "definition": snapshot.definition,
            "evaluations": snapshot.evaluations,
        });
        write_json(&directory.join(RUN), &run)?;
        write_json(&directory.join(ARGUMENTS), snapshot.arguments)?;
        write_json(&directory.join(STATE), snapshot.state)
    })?;
    Ok(target)
}

fn scheduler(snapshot: &Snapshot<'_>) -> Value {
    json!({
        "last_epoch": snapshot.state.global_step - snapshot.position.skipped_steps,
        "last_lr": snapshot.last_learning_rate,
        "lr_scheduler_type": snapshot.arguments.lr_scheduler_type,
        "num_training_steps": snapshot.state.max_steps,
        "num_warmup_steps": snapshot.warmup,
    })
}

/// How [`replace_directory`] recognizes a checkpoint.
pub(super) const CHECKPOINT: DirectoryKind<'static> = DirectoryKind {
    name: "a checkpoint",
    recognises: &|entries| entries.iter().any(|entry| entry.name == STATE),
    owns: &|entry| RUN_FILES.contains(&entry.name.as_str()) || is_model_entry(entry),
    temporary_prefix: TEMPORARY,
};

/// Steps and paths of the checkpoints in a directory, by ascending step.
///
/// # Errors
/// A directory that exists but cannot be read.
pub fn checkpoints(output_dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let io = FileError::io(output_dir);
    if !output_dir.exists() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(output_dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if let Some(step) = checkpoint_step(&path).filter(|_| path.is_dir()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
}

/// The step in the name of a checkpoint; `None` for another name.
pub(super) fn checkpoint_step(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("checkpoint-")?.parse().ok()
}

/// Warnings about the checkpoints after `step` that are incomplete, so that no run resumes from
/// them.
///
/// # Errors
/// A directory that cannot be read.
pub(super) fn incomplete_after(output_dir: &Path, step: u64) -> Result<Vec<String>, Error> {
    let later = checkpoints(output_dir)?.into_iter().filter(|(other, _)| *other > step);
    let told = |(_, path): (u64, PathBuf)| {
        let file = missing_file(&path)?;
        Some(format!("{} is incomplete, {file} is missing: not resumed from", path.display()))
    };
    Ok(later.filter_map(told).collect())
}

/// The error for a path that is not a checkpoint. It names the newest checkpoint in that directory,
/// or in the directory around it.
fn no_checkpoint(path: &Path) -> Result<FileError, Error> {
    let folder = match path.is_dir() {
        true => path,
        false => path.parent().unwrap_or(path),
    };
    let got = if path.exists() { "something else" } else { "nothing" };
    let known = checkpoints(folder)?;
    let known = match known.last() {
        None => String::new(),
        Some((_, newest)) => {
            format!("; the newest in {} is {}", folder.display(), newest.display())
        }
    };
    Ok(FileError::content(path, format!("expected a checkpoint, got {got}{known}")))
}

/// Reads `run.json` of a checkpoint.
///
/// # Errors
/// A missing or malformed file.
pub(super) fn read_run(path: &Path) -> Result<RunFile, Error> {
    read_json(&path.join(RUN))
}

/// Reads the state of a checkpoint.
///
/// # Errors
/// A missing or malformed file.
pub(super) fn read_state(path: &Path) -> Result<TrainerState, Error> {
    read_json(&path.join(STATE))
}

impl Checkpoint {
    /// Reads the newest checkpoint that a run can resume from. Incomplete ones are ignored.
    ///
    /// # Errors
    /// No such checkpoint, or one whose files are malformed.
    pub fn newest(output_dir: &Path) -> Result<Checkpoint, Error> {
        let found = checkpoints(output_dir)?;
        match found.iter().rev().find(|(_, path)| missing_file(path).is_none()) {
            Some((_, path)) => Checkpoint::read(path),
            None => Err(FileError::content(
                output_dir,
                "expected a complete checkpoint-STEP to resume from, found none",
            )
            .into()),
        }
    }

    /// Reads a checkpoint, except for the parameters and the optimizer's moments.
    ///
    /// # Errors
    /// A missing or malformed file.
    pub fn read(path: &Path) -> Result<Checkpoint, Error> {
        // A directory with checkpoints is that of a run.
        if !path.is_dir() || !checkpoints(path)?.is_empty() {
            return Err(no_checkpoint(path)?.into());
        }
        let missing = |file: &str| {
            FileError::content(path, format!("expected a complete checkpoint, {file} is missing"))
        };
        if let Some(file) = missing_file(path) {
            return Err(missing(file).into());
        }
        let arguments: TrainingArguments = read_json(&path.join(ARGUMENTS))?;
        let scaler = path.join(SCALER);
        if arguments.fp16 && !scaler.is_file() {
            return Err(missing(SCALER).into());
        }
        Ok(Checkpoint {
            path: path.to_owned(),
            state: read_state(path)?,
            position: read_json(&path.join(SAMPLER))?,
            loss_scaler: if arguments.fp16 { Some(read_loss_scaler(&scaler)?) } else { None },
            arguments,
            run: path.join(RUN).is_file().then(|| read_run(path)).transpose()?,
        })
    }

    /// Loads the parameters and the optimizer's moments of the checkpoint.
    ///
    /// # Errors
    /// A malformed file, or tensors that do not match the model.
    pub(crate) fn restore<M: TextModel>(
        &self,
        model: &mut M,
        optimizer: &mut Optimizers,
    ) -> Result<(), Error> {
        model.load_parameters(&self.path)?;
        optimizer.load(&self.path.join(OPTIMIZER))
    }
}

/// Deletes the oldest checkpoints until `limit` are left. Keeps the newest and `best`.
///
/// # Errors
/// When a checkpoint cannot be deleted.
pub(crate) fn rotate(output_dir: &Path, limit: usize, best: Option<&Path>) -> Result<(), Error> {
    let found = checkpoints(output_dir)?;
    let mut kept = found.len();
    let older = &found[..found.len().saturating_sub(1)];
    for (_, path) in older {
        if kept <= limit {
            break;
        }
        if best.is_none_or(|best| best.file_name() != path.file_name()) {
            fs::remove_dir_all(path).map_err(FileError::io(path))?;
            kept -= 1;
        }
    }
    Ok(())
}

/// The directory of the checkpoint of a step.
pub(crate) fn checkpoint_path(output_dir: &Path, step: u64) -> PathBuf {
    output_dir.join(format!("checkpoint-{step}"))
}

/// The first of the files needed for resuming that a checkpoint lacks.
fn missing_file(path: &Path) -> Option<&'static str> {
    let needed = [OPTIMIZER, SCHEDULER, RNG_STATE, SAMPLER, ARGUMENTS, STATE];
    needed.into_iter().find(|file| !path.join(file).is_file())
}

/// Writes JSON atomically, with sorted keys and an indentation of two spaces.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let value = serde_json::to_value(value).expect("plain data is JSON");
    let mut text = serde_json::to_string_pretty(&with_sorted_keys(value)).expect("JSON prints");
    text.push('\n');
    Ok(write_atomically(path, text.as_bytes())?)
}

fn read_loss_scaler(path: &Path) -> Result<LossScaler, Error> {
    let scaler: LossScaler = read_json(path)?;
    scaler.validate().map_err(|error| FileError::content(path, error.to_string()))?;
    Ok(scaler)
}

pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(FileError::io(path))?;
    Ok(serde_json::from_str(&text).map_err(|error| FileError::content(path, error.to_string()))?)
}
