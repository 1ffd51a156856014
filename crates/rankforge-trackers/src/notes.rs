//! What a tracker has to know of a run to continue it when it is resumed: `trackers/NAME.json` in
//! the output directory.

use crate::report_to::Tracker;
use rankforge_base::{FileError, write_atomically};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

fn path(output_dir: &Path, tracker: Tracker) -> PathBuf {
    output_dir.join("trackers").join(format!("{tracker}.json"))
}

/// What the tracker noted, if it did and the file can be read.
pub(crate) fn recall<T: DeserializeOwned>(output_dir: &Path, tracker: Tracker) -> Option<T> {
    let text = std::fs::read_to_string(path(output_dir, tracker)).ok()?;
    serde_json::from_str(&text).ok()
}

/// Notes what the tracker has to know.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn note(
    output_dir: &Path,
    tracker: Tracker,
    value: &impl Serialize,
) -> Result<(), FileError> {
    let path = path(output_dir, tracker);
    let folder = path.parent().expect("a file in a folder");
    std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
    let mut text = serde_json::to_string_pretty(value).expect("plain data is JSON");
    text.push('\n');
    write_atomically(&path, text.as_bytes())
}
