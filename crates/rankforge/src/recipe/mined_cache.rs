//! Mined rows of a recipe, kept in its output directory so that a resumed run does not mine again.
//!
//! A key beside the rows holds everything that they depend on: the options, and path, size and
//! modification time of every file that was read. Rows whose key differs are mined again.

use crate::error::Error;
use crate::mining::MiningOptions;
use crate::recipe::sections::{DatasetSection, MiningSection};
use rankforge_base::{FileError, Stop, write_atomically};
use rankforge_data::{Location, Rows, load_rows};
use rankforge_encoder::LoadOptions;
use serde_json::{Value as Json, json};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The mined rows of `dataset`: those that an earlier run left in `rows_file`, or new ones, which
/// are written there. If `keep` is set, new ones must be those of the earlier run, which resumes.
///
/// # Errors
/// Models, rows or options that cannot be used, a file that cannot be read or written, a request to
/// stop, or other rows than those that must be kept.
pub(super) fn mined_rows(
    dataset: &DatasetSection,
    mining: &MiningSection,
    rows_file: &Path,
    keep: bool,
    options: &LoadOptions,
    stop: &Stop,
) -> Result<Rows, Error> {
    let key_file = rows_file.with_extension("key.json");
    let key = key(dataset, mining, options)?;
    if read_key(&key_file).as_ref() == Some(&key) && rows_file.is_file() {
        options.reporter.message(&format!("using the rows mined before: {}", rows_file.display()));
    } else {
        let folder = rows_file.parent().expect("a file in the output directory");
        std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        let pairs = dataset.load()?;
        let models = mining.sources.open(options)?;
        let miner = models.miner(mining.options.clone(), options.reporter.clone());
        let new_file = rows_file.with_extension("new.jsonl");
        let mined = miner.mine_to_file(&pairs, &new_file, stop)?;
        if keep && rows_file.is_file() && read(rows_file)? != read(&new_file)? {
            remove(&new_file)?;
            let expected = format!(
                "what gives the rows in {}, with which the run began, as a resumed run must not \
                 change them; start a new run instead",
                rows_file.display()
            );
            return Err(Error::argument("mining", expected, "other options, models or data"));
        }
        remove(&key_file)?;
        std::fs::rename(&new_file, rows_file).map_err(FileError::io(rows_file))?;
        let text = serde_json::to_string_pretty(&key).expect("plain data is JSON");
        write_atomically(&key_file, text.as_bytes())?;
        let (rows, path) = (mined.summary.rows, rows_file.display());
        options.reporter.message(&format!("mined {rows} rows: {path}"));
    }
    // Read back even when new, so that a run and its resumption see exactly the same rows.
    Ok(load_rows(&Location::new(rows_file))?)
}

fn key(
    dataset: &DatasetSection,
    mining: &MiningSection,
    load: &LoadOptions,
) -> Result<Json, Error> {
    let sources = &mining.sources;
    let paths = [Some(&dataset.path), Some(&sources.model)];
    let optional = [sources.cross_encoder.as_ref(), sources.corpus.as_ref()];
    let mut files = Vec::new();
    for path in paths.into_iter().chain(optional).flatten() {
        stamp(path, &mut files)?;
    }
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let cache_folder = mining.options.cache_folder.as_deref().map(text);
    let mut options = json!(MiningOptions { cache_folder: None, ..mining.options.clone() });
    options["cache_folder"] = json!(cache_folder);
    Ok(json!({
        "dataset": dataset,
        "sources": {
            "model": text(&sources.model),
            "cross_encoder": sources.cross_encoder.as_deref().map(text),
            "corpus": sources.corpus.as_deref().map(text),
            "corpus_column": sources.corpus_column,
        },
        "options": options,
        "load": {
            "precision": load.precision.to_string(),
            "max_length": load.max_length,
            "truncate_dim": load.truncate_dim,
            "num_labels": load.num_labels,
            "activation_fn": load.activation_fn.map(|activation| format!("{activation:?}")),
            "seed": load.seed,
        },
        "files": files,
    }))
}

/// Path, size and modification time of a file, or of the files of a folder.
fn stamp(path: &Path, files: &mut Vec<Json>) -> Result<(), FileError> {
    let metadata = std::fs::metadata(path).map_err(FileError::io(path))?;
    if metadata.is_dir() {
        let entries = std::fs::read_dir(path).map_err(FileError::io(path))?;
        let entries = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut entries: Vec<PathBuf> =
            entries.collect::<Result<_, _>>().map_err(FileError::io(path))?;
        entries.sort();
        return entries.iter().try_for_each(|entry| stamp(entry, files));
    }
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map(|time| time.as_nanos().to_string());
    files.push(json!([path.to_string_lossy(), metadata.len(), modified]));
    Ok(())
}

/// The key of earlier rows; without a readable one they are mined again.
fn read_key(path: &Path) -> Option<Json> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(FileError::io(path))
}

fn remove(path: &Path) -> Result<(), FileError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(FileError::io(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::sections::MiningSources;
    use rankforge_kernels::Precision;

    #[test]
    fn the_key_holds_what_the_rows_depend_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, name).expect("written");
            path
        };
        let dataset = DatasetSection { path: file("pairs.jsonl"), ..DatasetSection::default() };
        let sources = MiningSources { model: file("model"), ..MiningSources::default() };
        let options = MiningOptions::default();
        let mining = MiningSection { sources, mine_eval_dataset: false, options };
        let load = LoadOptions::default();
        let first = key(&dataset, &mining, &load).expect("a key");
        assert_eq!(key(&dataset, &mining, &load).expect("a key"), first);

        let half = LoadOptions { precision: Precision::BFloat16, ..LoadOptions::default() };
        let short = LoadOptions { max_length: Some(16), ..LoadOptions::default() };
        let narrow = LoadOptions { truncate_dim: Some(8), ..LoadOptions::default() };
        for other in [half, short, narrow] {
            assert_ne!(key(&dataset, &mining, &other).expect("a key"), first);
        }
        let options = MiningOptions { num_negatives: 7, ..MiningOptions::default() };
        let more = MiningSection { options, ..mining.clone() };
        assert_ne!(key(&dataset, &more, &load).expect("a key"), first);
        std::fs::write(&dataset.path, "longer than before").expect("written");
        assert_ne!(key(&dataset, &mining, &load).expect("a key"), first);
        std::fs::remove_file(&dataset.path).expect("removed");
        let error = key(&dataset, &mining, &load).unwrap_err().to_string();
        assert!(error.contains("pairs.jsonl"), "{error}");
    }
}
