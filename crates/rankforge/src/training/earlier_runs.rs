//! Checkpoints of other runs in the output directory of a run.

use crate::error::Error;
use crate::training::checkpoint::checkpoint_step;
use crate::training::log_file::LOG_FILE;
use crate::training::record::{RECIPE, RUN_RECORD};
use crate::training::report::{REPORT, REPORT_DATA};
use rankforge_base::FileError;
use std::fs;
use std::path::Path;

/// How the directories are named that checkpoints of earlier runs are moved to.
const EARLIER: &str = "earlier-run-";

/// Other traces of a run, which go with its checkpoints when another run begins.
const TRACES: [&str; 9] = [
    "eval",
    LOG_FILE,
    RECIPE,
    REPORT,
    REPORT_DATA,
    RUN_RECORD,
    "trackers",
    "trainer_state.json",
    "training.svg",
];

/// Moves the checkpoints in `output_dir` that do not belong to a run into a new directory
/// `earlier-run-N` there, so that all that are left are the run's own. A run that begins has none;
/// one that resumes from `resumed` has those up to that, if they are in the same directory. Returns
/// what to tell the user.
///
/// # Errors
/// When the directory cannot be read or a checkpoint cannot be moved.
pub(super) fn set_aside(
    output_dir: &Path,
    resumed: Option<(u64, &Path)>,
) -> Result<Option<String>, Error> {
    let last_own = resumed.filter(|(_, path)| is_in(path, output_dir)).map(|(step, _)| step);
    let (mut others, mut traces, mut earlier_runs) = (Vec::new(), Vec::new(), 0);
    for entry in fs::read_dir(output_dir).map_err(FileError::io(output_dir))? {
        let path = entry.map_err(FileError::io(output_dir))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_prefix(EARLIER).and_then(|number| number.parse().ok()) {
            earlier_runs = earlier_runs.max(number);
        }
        if TRACES.contains(&name) && last_own.is_none() {
            traces.push(path);
        } else if checkpoint_step(&path).is_some_and(|step| last_own.is_none_or(|last| step > last))
        {
            others.push(path);
        }
    }
    if others.is_empty() {
        return Ok(None);
    }
    let directory = output_dir.join(format!("{EARLIER}{}", earlier_runs + 1));
    fs::create_dir(&directory).map_err(FileError::io(&directory))?;
    for path in others.iter().chain(&traces) {
        let target = directory.join(path.file_name().expect("an entry has a name"));
        fs::rename(path, target).map_err(FileError::io(path))?;
    }
    let what = match last_own {
        Some(step) => format!("checkpoints of later steps than {step}, from which it resumes"),
        None => "checkpoints of an earlier run".to_owned(),
    };
    let mut text = format!(
        "{} held {what}: moved {} to {}",
        output_dir.display(),
        if others.len() == 1 { "the one" } else { "them" },
        directory.display()
    );
    if last_own.is_none() && output_dir.join("final").exists() {
        text.push_str("; `final` is of the earlier run until this one ends");
    }
    Ok(Some(text))
}

/// Whether `path` is an entry of `directory`, however the two are spelled.
pub(super) fn is_in(path: &Path, directory: &Path) -> bool {
    let parent = path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned));
    parent.is_some() && parent == directory.canonicalize().ok()
}
