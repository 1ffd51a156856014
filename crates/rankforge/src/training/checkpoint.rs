use crate::Error;
use crate::training::optimizer::Optimizer;
use crate::training::state::with_sorted_keys;
use crate::training::{LossScaler, Position, TrainerState, TrainingArguments};
use rankforge_encoder::Trainable;
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

/// Temporary names of checkpoints begin so; nothing that does is ever read.
const TEMPORARY: &str = ".incomplete-";

/// What a checkpoint holds besides the model.
pub(crate) struct Snapshot<'a> {
    pub(crate) optimizer: &'a Optimizer,
    pub(crate) state: &'a TrainerState,
    pub(crate) position: &'a Position,
    pub(crate) loss_scaler: Option<&'a LossScaler>,
    pub(crate) arguments: &'a TrainingArguments,
    pub(crate) last_learning_rate: f64,
    pub(crate) warmup: u64,
}

/// A checkpoint, read back; the model and the optimizer read their own files.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// Where the run was.
    pub state: TrainerState,
    /// Where it was in its data.
    pub position: Position,
    /// The arguments it had.
    pub arguments: TrainingArguments,
    /// Its loss scale, when it was one of fp16.
    pub loss_scaler: Option<LossScaler>,
}

/// Writes `output_dir/checkpoint-STEP` under a temporary name and renames it when it is complete.
/// With `only_model` it holds the model, its card and the state.
///
/// # Errors
/// When a file cannot be written; the temporary folder is gone then.
pub(crate) fn save<M: Trainable>(
    model: &M,
    card: &str,
    snapshot: &Snapshot<'_>,
    only_model: bool,
) -> Result<PathBuf, Error> {
    let target = checkpoint_path(&snapshot.arguments.output_dir, snapshot.state.global_step);
    write_directory(&target, |directory| {
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

/// Fills a new directory beside `target` and gives it `target`'s name, in place of what was there.
///
/// # Errors
/// What `fill` returns, or a failed write; the new directory is gone then.
pub(crate) fn write_directory(
    target: &Path,
    fill: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    };
    fs::create_dir_all(parent).map_err(io(parent))?;
    let temporary =
        tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent).map_err(io(parent))?;
    // A directory that others can read, as mkdir makes them; temporary ones are private.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o755))
            .map_err(io(temporary.path()))?;
    }
    fill(temporary.path())?;
    sync(temporary.path())?;
    // The old directory steps aside first: a directory cannot be renamed onto one with files.
    let aside = match target.exists() {
        false => None,
        true => {
            let aside = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(parent);
            let aside = aside.map_err(io(parent))?;
            fs::rename(target, aside.path().join("replaced")).map_err(io(target))?;
            Some(aside)
        }
    };
    if let Err(source) = fs::rename(temporary.path(), target) {
        if let Some(aside) = aside
            && fs::rename(aside.path().join("replaced"), target).is_err()
        {
            // What was there must not go with the temporary directory.
            let kept = aside.keep();
            let message = format!("{source}; what was here is now {}/replaced", kept.display());
            return Err(Error::File { path: target.to_owned(), message });
        }
        return Err(Error::Io { path: target.to_owned(), source });
    }
    // Its name is the target's now; the handle must not delete it.
    let _renamed = temporary.keep();
    sync_directory(parent)
}

/// Makes sure that the files are on the disk before the directory gets its name.
fn sync(directory: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { path: directory.to_owned(), source };
    for entry in fs::read_dir(directory).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            let file = fs::File::open(&path);
            file.and_then(|file| file.sync_all()).map_err(|source| Error::Io { path, source })?;
        }
    }
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> Result<(), Error> {
    let handle = fs::File::open(directory);
    handle
        .and_then(|handle| handle.sync_all())
        .map_err(|source| Error::Io { path: directory.to_owned(), source })
}

/// Checkpoints of a directory by step, lowest first.
///
/// # Errors
/// When the directory is there and cannot be read.
pub fn checkpoints(output_dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    let io = |source| Error::Io { path: output_dir.to_owned(), source };
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
    /// The newest checkpoint that a run can continue from; incomplete ones do not count.
    ///
    /// # Errors
    /// No such checkpoint, or one whose files are malformed.
    pub fn newest(output_dir: &Path) -> Result<Checkpoint, Error> {
        let found = checkpoints(output_dir)?;
        match found.iter().rev().find(|(_, path)| missing_file(path).is_none()) {
            Some((_, path)) => Checkpoint::read(path),
            None => Err(Error::File {
                path: output_dir.to_owned(),
                message: "expected a complete checkpoint-STEP to resume from, found none"
                    .to_owned(),
            }),
        }
    }

    /// Reads what is not the model's or the optimizer's.
    ///
    /// # Errors
    /// A missing or malformed file.
    pub fn read(path: &Path) -> Result<Checkpoint, Error> {
        let missing = |file: &str| Error::File {
            path: path.to_owned(),
            message: format!("expected a complete checkpoint, {file} is missing"),
        };
        if let Some(file) = missing_file(path) {
            return Err(missing(file));
        }
        let arguments: TrainingArguments = read_json(&path.join(ARGUMENTS))?;
        let scaler = path.join(SCALER);
        if arguments.fp16 && !scaler.is_file() {
            return Err(missing(SCALER));
        }
        Ok(Checkpoint {
            path: path.to_owned(),
            state: read_json(&path.join(STATE))?,
            position: read_json(&path.join(SAMPLER))?,
            loss_scaler: if arguments.fp16 { Some(read_loss_scaler(&scaler)?) } else { None },
            arguments,
        })
    }

    /// Replaces parameters and moments by those of the checkpoint.
    ///
    /// # Errors
    /// A malformed file, or one that does not fit the model.
    pub(crate) fn restore<M: Trainable>(
        &self,
        model: &mut M,
        optimizer: &mut Optimizer,
    ) -> Result<(), Error> {
        model.load_parameters(&self.path)?;
        optimizer.load(&self.path.join(OPTIMIZER))
    }

    /// Compares the run that is about to continue with the one that wrote the checkpoint; what
    /// differs without changing the order of the data comes back as warnings.
    ///
    /// # Errors
    /// A difference that changes the order of the data, unless `ignore_data_skip` is set.
    pub(crate) fn compare(
        &self,
        arguments: &TrainingArguments,
        dataset_rows: usize,
    ) -> Result<Vec<String>, Error> {
        const ORDER: [&str; 6] = [
            "seed",
            "data_seed",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "batch_sampler",
            "dataloader_drop_last",
        ];
        const FREE: [&str; 5] = [
            "output_dir",
            "resume_from_checkpoint",
            "ignore_data_skip",
            "run_name",
            "save_total_limit",
        ];
        let (mut now, mut then) = (arguments.to_map(), self.arguments.to_map());
        now.insert("rows of the training data".to_owned(), json!(dataset_rows));
        then.insert("rows of the training data".to_owned(), json!(self.position.dataset_rows));
        let mut warnings = Vec::new();
        for (name, value) in now {
            if value == then[&name] || FREE.contains(&name.as_str()) {
                continue;
            }
            let order = ORDER.contains(&name.as_str()) || name.starts_with("rows");
            if order && !arguments.ignore_data_skip {
                return Err(Error::Argument {
                    field: name.clone(),
                    expected: format!(
                        "{} as in {}, since another value changes the order of the data (or set \
                         ignore_data_skip)",
                        then[&name],
                        self.path.display()
                    ),
                    got: value.to_string(),
                });
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

/// Deletes the oldest checkpoints until `limit` are left; never `newest` and never `best`, nor
/// checkpoints of later steps, which another run must have written.
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
            fs::remove_dir_all(&path).map_err(|source| Error::Io { path, source })?;
            kept -= 1;
        }
    }
    Ok(())
}

/// Where the checkpoint of a step goes.
pub(crate) fn checkpoint_path(output_dir: &Path, step: u64) -> PathBuf {
    output_dir.join(format!("checkpoint-{step}"))
}

/// The first file that a checkpoint lacks, to continue from it.
fn missing_file(path: &Path) -> Option<&'static str> {
    let needed = [OPTIMIZER, SCHEDULER, RNG_STATE, SAMPLER, ARGUMENTS, STATE];
    needed.into_iter().find(|file| !path.join(file).is_file())
}

/// Writes sorted keys, two spaces of indentation, under a temporary name first.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let value = serde_json::to_value(value).expect("plain data is JSON");
    let mut text = serde_json::to_string_pretty(&with_sorted_keys(value)).expect("JSON prints");
    text.push('\n');
    write_text(path, &text)
}

/// Writes a text file under a temporary name, then renames it.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), Error> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let temporary =
        tempfile::NamedTempFile::new_in(parent.unwrap_or(Path::new("."))).map_err(io)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(temporary.path(), fs::Permissions::from_mode(0o644)).map_err(io)?;
    }
    fs::write(temporary.path(), text).map_err(io)?;
    temporary.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

fn read_loss_scaler(path: &Path) -> Result<LossScaler, Error> {
    let scaler: LossScaler = read_json(path)?;
    scaler
        .validate()
        .map_err(|error| Error::File { path: path.to_owned(), message: error.to_string() })?;
    Ok(scaler)
}

fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    let text =
        fs::read_to_string(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| Error::File { path: path.to_owned(), message: error.to_string() })
}
