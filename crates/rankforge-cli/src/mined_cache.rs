//! Mined rows of a recipe, kept under its output folder so that a resumed run does not mine again.
//!
//! Beside the rows stands a key that holds everything they depend on: the options, and path, size and
//! time of every file that was read. Rows whose key differs are mined anew.

use crate::commands::mine::{MiningSources, mine};
use crate::console::Console;
use crate::inference::PrecisionArgs;
use crate::recipe::{DatasetSection, MiningSection};
use anyhow::Context;
use rankforge::data::{Location, Rows, load_rows};
use rankforge::encoder::Reporter;
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The mined rows of `dataset`: those of an earlier run in `folder`, or fresh ones, which stay there
/// as `NAME.jsonl`.
///
/// # Errors
/// Whatever mining refuses, or a file that cannot be read or written.
pub(crate) fn mined_rows(
    dataset: &DatasetSection,
    mining: &MiningSection,
    folder: &Path,
    name: &str,
    console: &Console,
) -> anyhow::Result<Rows> {
    let rows_file = folder.join(format!("{name}.jsonl"));
    let key_file = folder.join(format!("{name}.key.json"));
    let key = key(dataset, mining)?;
    if read_key(&key_file).as_ref() == Some(&key) && rows_file.is_file() {
        console.progress.message(&format!("mined before: {}", rows_file.display()));
    } else {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let pairs = load_rows(&dataset.location())?;
        let sources = MiningSources {
            model: &mining.sources.model,
            cross_encoder: mining.sources.cross_encoder.as_deref(),
            corpus: mining.sources.corpus.as_deref(),
            corpus_column: mining.sources.corpus_column.as_deref(),
            precision: PrecisionArgs::default(),
        };
        remove(&key_file)?;
        let mined = mine(&pairs, &sources, &mining.options, &rows_file, console)?;
        write_key(&key, &key_file)?;
        let count = crate::table::thousands(mined.summary.rows as u64);
        console.progress.message(&format!("mined {count} rows: {}", rows_file.display()));
    }
    // Read back even when fresh, so that a run and its resumption see the same rows to the letter.
    Ok(load_rows(&Location { path: rows_file, ..Location::default() })?)
}

fn key(dataset: &DatasetSection, mining: &MiningSection) -> anyhow::Result<Json> {
    let sources = &mining.sources;
    let paths = [Some(&dataset.path), Some(&sources.model), sources.cross_encoder.as_ref()];
    let mut files = Vec::new();
    for path in paths.into_iter().chain([sources.corpus.as_ref()]).flatten() {
        stamp(path, &mut files)?;
    }
    Ok(json!({
        "dataset": {
            "path": dataset.path,
            "split": dataset.split,
            "columns": dataset.columns,
            "limit": dataset.limit,
        },
        "sources": sources,
        "options": mining.options,
        "files": files,
    }))
}

/// Path, size and time of a file, or of the files of a folder.
fn stamp(path: &Path, files: &mut Vec<Json>) -> anyhow::Result<()> {
    let about = || format!("cannot read {}", path.display());
    let metadata = std::fs::metadata(path).with_context(about)?;
    if metadata.is_dir() {
        let entries = std::fs::read_dir(path).with_context(about)?;
        let mut entries: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .with_context(about)?;
        entries.sort();
        return entries.iter().try_for_each(|entry| stamp(entry, files));
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map(|time| time.as_nanos().to_string());
    files.push(json!([path, metadata.len(), modified]));
    Ok(())
}

/// The key of earlier rows; without a readable one they are mined anew.
fn read_key(path: &Path) -> Option<Json> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn write_key(key: &Json, path: &Path) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = rankforge::files::temporary_file(path.parent().unwrap_or(Path::new(".")))?;
        file.write_all(serde_json::to_string_pretty(key)?.as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
