use crate::environment::Environment;
use crate::report_to::Tracker;
use crate::settings_error::SettingsError;
use std::path::{Path, PathBuf};

/// What an offline run holds besides metrics, and where it goes.
#[derive(Clone, Debug)]
pub(crate) struct WandbSettings {
    pub(super) output_dir: PathBuf,
    /// The directory of runs.
    pub(super) folder: PathBuf,
    pub(super) host: String,
    pub(super) id: Option<String>,
    /// The name of a run that has no `run_name`.
    pub(super) name: Option<String>,
    pub(super) project: String,
    pub(super) entity: Option<String>,
    pub(super) group: Option<String>,
    pub(super) job_type: Option<String>,
    pub(super) notes: Option<String>,
    pub(super) tags: Vec<String>,
}

/// The mode of a run that is written, with those that are the same here.
const WRITTEN: [&str; 4] = ["offline", "dryrun", "online", "shared"];

impl WandbSettings {
    /// Reads the variables of wandb; `None` if they disable it. `warnings` get what the user should
    /// know of variables that have no effect.
    ///
    /// # Errors
    /// A `WANDB_MODE` that does not exist, or a `WANDB_RUN_ID` that cannot be part of a file name.
    pub(crate) fn new(
        environment: &Environment,
        output_dir: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Option<WandbSettings>, SettingsError> {
        let text = |name: &str| environment.get(name).map(str::to_owned);
        let mode = environment.get("WANDB_MODE");
        if mode == Some("disabled") || environment.is_true("WANDB_DISABLED") {
            warnings.push("wandb: gets nothing, as the environment disables it".to_owned());
            return Ok(None);
        }
        let refused = |expected: &str, got: &str| SettingsError {
            tracker: Tracker::Wandb,
            expected: expected.to_owned(),
            got: got.to_owned(),
        };
        if let Some(mode) = mode.filter(|mode| !WRITTEN.contains(mode)) {
            return Err(refused("WANDB_MODE to be offline, online or disabled", mode));
        }
        if let Some(mode @ ("online" | "shared")) = mode {
            warnings.push(format!(
                "wandb: WANDB_MODE = {mode} has no effect: the run is written offline, and \
                 `wandb sync` uploads it"
            ));
        }
        for name in ["WANDB_LOG_MODEL", "WANDB_WATCH"] {
            if let Some(value) = environment.get(name).filter(|value| *value != "false") {
                warnings.push(format!("wandb: {name} = {value} has no effect: it gets the log"));
            }
        }
        let plain = |id: &str| {
            id.chars()
                .all(|character| character.is_ascii_alphanumeric() || "-_".contains(character))
        };
        if let Some(id) = environment.get("WANDB_RUN_ID").filter(|id| !plain(id)) {
            return Err(refused("WANDB_RUN_ID of letters, digits, - and _", id));
        }
        let folder = environment.get("WANDB_DIR").map_or_else(PathBuf::new, PathBuf::from);
        let tags = environment.get("WANDB_TAGS").unwrap_or_default().split(',');
        Ok(Some(WandbSettings {
            output_dir: output_dir.to_owned(),
            folder: folder.join("wandb"),
            host: environment.host().to_owned(),
            id: text("WANDB_RUN_ID"),
            name: text("WANDB_NAME"),
            project: text("WANDB_PROJECT").unwrap_or_else(|| "huggingface".to_owned()),
            entity: text("WANDB_ENTITY"),
            group: text("WANDB_RUN_GROUP"),
            job_type: text("WANDB_JOB_TYPE"),
            notes: text("WANDB_NOTES"),
            tags: tags.filter(|tag| !tag.is_empty()).map(str::to_owned).collect(),
        }))
    }
}
