use crate::arguments::TrainingArguments;
use crate::error::Error;
use crate::trainer_state::{TrainerState, with_sorted_keys};
use crate::training::loss_scaler::LossScaler;
use crate::training::optimizer::Optimizer;
use crate::training::position::Position;
use crate::training::training_set::TrainingSet;
use rankforge_base::{DirectoryKind, FileError, replace_directory, write_atomically};
use rankforge_encoder::{TextModel, is_model_entry};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

const OPTIMIZER: &str = "optimizer.safetensors";
const SCHEDULER: &str = "scheduler.json";
const SCALER: &str = "scaler.json";
const RNG_STATE: &str = "rng_state.json";
const SAMPLER: &str = "sampler.json";
const STATE: &str = "trainer_state.json";
const ARGUMENTS: &str = "training_args.json";

/// The files of a checkpoint besides those of the model.
const RUN_FILES: [&str; 7] = [OPTIMIZER, SCHEDULER, SCALER, RNG_STATE, SAMPLER, STATE, ARGUMENTS];

/// Prefix of the temporary names of checkpoints that are being written. These are never read.
const TEMPORARY: &str = ".incomplete-";

/// What a checkpoint contains besides the model.
pub(crate) struct Snapshot<'a> {
    pub(crate) optimizer: &'a Optimizer,
    pub(crate) state: &'a TrainerState,
    pub(crate) position: &'a Position,
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
const CHECKPOINT: DirectoryKind<'static> = DirectoryKind {
    name: "a checkpoint",
    recognises: &|entries| entries.iter().any(|entry| entry.name == STATE),
    owns: &|entry| RUN_FILES.contains(&entry.name.as_str()) || is_model_entry(entry),
    temporary_prefix: TEMPORARY,
};

/// Checks that the run can replace the checkpoints in `output_dir` that are in its way: those of
/// the steps after `done`, up to `max_steps`.
///
/// # Errors
/// A directory with the name of such a checkpoint holds files that no checkpoint has.
pub(crate) fn check_replaceable(output_dir: &Path, done: u64, max_steps: u64) -> Result<(), Error> {
    for (step, path) in checkpoints(output_dir)? {
        if done < step && step <= max_steps {
            CHECKPOINT.check_replaceable(&path)?;
        }
    }
    Ok(())
}

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
        let step = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("checkpoint-"))
            .and_then(|step| step.parse().ok());
        if let Some(step) = step.filter(|_| path.is_dir()) {
            found.push((step, path));
        }
    }
    found.sort();
    Ok(found)
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
            state: read_json(&path.join(STATE))?,
            position: read_json(&path.join(SAMPLER))?,
            loss_scaler: if arguments.fp16 { Some(read_loss_scaler(&scaler)?) } else { None },
            arguments,
        })
    }

    /// Loads the parameters and the optimizer's moments of the checkpoint.
    ///
    /// # Errors
    /// A malformed file, or tensors that do not match the model.
    pub(crate) fn restore<M: TextModel>(
        &self,
        model: &mut M,
        optimizer: &mut Optimizer,
    ) -> Result<(), Error> {
        model.load_parameters(&self.path)?;
        optimizer.load(&self.path.join(OPTIMIZER))
    }

    /// Compares the run that is about to resume with the one that wrote the checkpoint. Differences
    /// that do not change the order of the data are returned as warnings.
    ///
    /// # Errors
    /// A difference that changes the order of the data, unless `ignore_data_skip` is set.
    pub(crate) fn compare(
        &self,
        arguments: &TrainingArguments,
        sets: &[TrainingSet],
    ) -> Result<Vec<String>, Error> {
        // Arguments that determine the order of the data.
        const ROWS: &str = "rows of the training data";
        const NAMES: &str = "names of the training sets";
        const ORDER: [&str; 9] = [
            ROWS,
            NAMES,
            "seed",
            "data_seed",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "batch_sampler",
            "multi_dataset_batch_sampler",
            "dataloader_drop_last",
        ];
        // Arguments that do not affect the result of the training.
        const FREE: [&str; 5] = [
            "output_dir",
            "resume_from_checkpoint",
            "ignore_data_skip",
            "run_name",
            "save_total_limit",
        ];
        let (mut now, mut then) = (arguments.to_map(), self.arguments.to_map());
        let rows: Vec<usize> = sets.iter().map(|set| set.rows.len()).collect();
        now.insert(ROWS.to_owned(), json!(rows));
        then.insert(ROWS.to_owned(), json!(self.position.dataset_rows));
        // Older checkpoints lack the names.
        if !self.position.dataset_names.is_empty() {
            let names: Vec<&str> = sets.iter().map(|set| set.name.as_str()).collect();
            now.insert(NAMES.to_owned(), json!(names));
            then.insert(NAMES.to_owned(), json!(self.position.dataset_names));
        }
        let mut warnings = Vec::new();
        for (name, value) in now {
            if value == then[&name] || FREE.contains(&name.as_str()) {
                continue;
            }
            if ORDER.contains(&name.as_str()) && !arguments.ignore_data_skip {
                let expected = format!(
                    "{} as in {}, since another value changes the order of the data (or set \
                     ignore_data_skip)",
                    then[&name],
                    self.path.display()
                );
                return Err(Error::argument(name, expected, value));
            }
            warnings.push(format!(
                "{name} = {value} differs from {} in {}; the run will not end as it would have",
                then[&name],
                self.path.display()
            ));
        }
        Ok(warnings)
    }
}

/// Deletes the oldest checkpoints until `limit` are left. Keeps the checkpoints `newest` and
/// `best`, and those of later steps, which another run has written.
///
/// # Errors
/// When a checkpoint cannot be deleted.
pub(crate) fn rotate(
    output_dir: &Path,
    limit: usize,
    newest: u64,
    best: Option<&Path>,
) -> Result<(), Error> {
    let found = checkpoints(output_dir)?;
    let mut kept = found.iter().filter(|(step, _)| *step <= newest).count();
    for (step, path) in found {
        if kept <= limit {
            break;
        }
        let is_best = best.is_some_and(|best| best.file_name() == path.file_name());
        if step < newest && !is_best {
            fs::remove_dir_all(&path).map_err(FileError::io(&path))?;
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

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text = fs::read_to_string(path).map_err(FileError::io(path))?;
    Ok(serde_json::from_str(&text).map_err(|error| FileError::content(path, error.to_string()))?)
}
