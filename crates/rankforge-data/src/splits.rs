use crate::compression::Compression;
use crate::error::{DataError, EXTENSIONS, suggestion};
use rankforge_base::quoted_list;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    Json,
    Csv,
    Parquet,
    Arrow,
}

impl Format {
    /// The format of a file by its extension, in either case; `None` for an unknown extension.
    pub(crate) fn of(path: &Path) -> Option<Format> {
        let stripped = Compression::strip(path);
        let extension = stripped.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "json" | "ndjson" => Some(Format::Json),
            "csv" | "tsv" => Some(Format::Csv),
            // These are compressed inside.
            _ if stripped != path => None,
            "parquet" => Some(Format::Parquet),
            "arrow" | "feather" | "ipc" => Some(Format::Arrow),
            _ => None,
        }
    }
}

/// Whether the extension of a path names a format of data sets.
pub fn has_known_extension(path: &Path) -> bool {
    Format::of(path).is_some()
}

/// Files of the `datasets` library that are not data.
const DESCRIPTIONS: [&str; 4] =
    ["dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"];

/// The splits of a directory as pairs (name, files), sorted by name. A file is one split named
/// `train`.
///
/// - A file's name without its extension and shard number is the name of its split:
///   `train.jsonl`, `train-00000-of-00002.parquet` and `train_1.csv` are of the split `train`.
/// - A subdirectory is a split of its own name, with all data files directly in it. The
///   subdirectory `data` is an exception: its files and subdirectories count as if they were in the
///   directory itself.
/// - A directory that `save_to_disk` of the `datasets` library wrote has the split that it was
///   saved from, or `train`; one of a `DatasetDict` has a subdirectory for each split.
/// - Ignored are names that begin with a point, other extensions, and what the `datasets` library
///   writes beside data: descriptions (`dataset_info.json`, `dataset_infos.json`,
///   `dataset_dict.json` and `state.json`), and caches (`cache-*.arrow`).
///
/// # Errors
/// When the path does not exist, has an unknown extension, or contains no data file; when a data
/// file or a subdirectory of them would be a split by its name, and the name is not UTF-8.
pub fn splits(path: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, DataError> {
    let metadata = std::fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    if !metadata.is_dir() {
        return match Format::of(path) {
            Some(_) => Ok(vec![("train".to_owned(), vec![path.to_owned()])]),
            None => Err(DataError::UnknownExtension {
                path: path.to_owned(),
                is_file: metadata.is_file(),
            }),
        };
    }
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    let saved = saved_split(path)?;
    collect(path, saved.as_deref(), &mut found)?;
    if found.is_empty() {
        let message = format!("no data files in this directory: expected {EXTENSIONS} files");
        return Err(DataError::file(path, message));
    }
    for files in found.values_mut() {
        files.sort();
    }
    Ok(found.into_iter().collect())
}

/// The files of one split, all of the same format. Without `split`, those of `train`, or of the
/// only split.
pub(crate) fn split_files(path: &Path, split: Option<&str>) -> Result<Vec<PathBuf>, DataError> {
    let mut splits = splits(path)?;
    let index = match split {
        Some(split) => splits.iter().position(|(name, _)| name == split),
        None if splits.len() == 1 => Some(0),
        None => splits.iter().position(|(name, _)| name == "train"),
    };
    let Some(index) = index else {
        let names: Vec<&str> = splits.iter().map(|(name, _)| name.as_str()).collect();
        return Err(DataError::file(path, no_such_split(path, split, &names)));
    };
    let (name, files) = splits.swap_remove(index);
    let formats: Vec<Option<Format>> = files.iter().map(|file| Format::of(file)).collect();
    if let Some(other) = formats.iter().position(|format| *format != formats[0]) {
        let message = format!(
            "split `{name}` has files of different formats, {} and {}; keep one format",
            files[0].display(),
            files[other].display()
        );
        return Err(DataError::file(path, message));
    }
    Ok(files)
}

/// The message for a missing split; `names` are those that exist.
fn no_such_split(path: &Path, split: Option<&str>, names: &[&str]) -> String {
    let list = quoted_list(names.iter().copied());
    match split {
        Some(split) if path.is_file() => {
            format!("no split `{split}`: a file is one split, named {list}")
        }
        Some(split) => {
            let suggestion = suggestion(split, names);
            format!("no split `{split}`: the directory has {list}{suggestion}")
        }
        None => format!("no split `train`: choose one of {list}"),
    }
}

/// Adds the data files of a directory to `found`, under `split` where it is given, else under the
/// split that their names say.
fn collect(
    folder: &Path,
    split: Option<&str>,
    found: &mut BTreeMap<String, Vec<PathBuf>>,
) -> Result<(), DataError> {
    let io = |error| DataError::io(folder, error);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let (path, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_dir() {
            match (split, name.to_str()) {
                (Some(_), _) => {}
                (None, Some("data")) => collect(&path, None, found)?,
                (None, Some(name)) => {
                    saved_split(&path)?;
                    collect(&path, Some(name), found)?;
                }
                (None, None) => refuse_data_files(&path)?,
            }
            continue;
        }
        let is_description = DESCRIPTIONS.iter().any(|description| name == *description);
        let is_cache = name.as_encoded_bytes().starts_with(b"cache-")
            && Format::of(&path) == Some(Format::Arrow);
        if !is_description && !is_cache && Format::of(&path).is_some() {
            let split = match split {
                Some(split) => split.to_owned(),
                None => split_name(name.to_str().ok_or_else(|| no_split_name(&path))?),
            };
            found.entry(split).or_default().push(path);
        }
    }
    Ok(())
}

/// The split that a directory of `save_to_disk` was saved from; `train` where it was none, `None`
/// for other directories.
///
/// # Errors
/// A description that cannot be read, or one of rows that another file selects.
fn saved_split(folder: &Path) -> Result<Option<String>, DataError> {
    let path = folder.join("state.json");
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&path).map_err(|error| DataError::io(&path, error))?;
    let state: Json = serde_json::from_slice(&text)
        .map_err(|error| DataError::file(&path, format!("invalid JSON: {error}")))?;
    if state["_data_files"].as_array().is_none_or(Vec::is_empty) {
        return Ok(None);
    }
    let selects = |key: &str| state[key].as_array().is_some_and(|files| !files.is_empty());
    if selects("_indices_data_files") || selects("_indices_files") {
        let message = "the data set was saved with a selection of its rows, by an old version of \
                       the `datasets` library; load it there, and save it after flatten_indices()";
        return Err(DataError::file(&path, message));
    }
    Ok(Some(state["_split"].as_str().unwrap_or("train").to_owned()))
}

/// Checks that a subdirectory whose name cannot be that of a split has no data files.
fn refuse_data_files(folder: &Path) -> Result<(), DataError> {
    let mut found = BTreeMap::new();
    collect(folder, Some(""), &mut found)?;
    if found.is_empty() { Ok(()) } else { Err(no_split_name(folder)) }
}

fn no_split_name(path: &Path) -> DataError {
    let message = "its name is not valid UTF-8, so that it cannot be the name of a split; rename \
                   it, or move it out of the data set";
    DataError::file(path, message)
}

/// A file's name without its extensions and shard number: `train` for `train.jsonl`, `train_03.csv`
/// and `train-00000-of-00002-1a2b.parquet`.
fn split_name(file_name: &str) -> String {
    let stripped = Compression::strip(Path::new(file_name));
    let name = stripped.to_str().expect("a part of a text is a text");
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((front, back)) = stem.split_once("-of-") {
        let total = back.split('-').next().unwrap_or(back);
        if let Some((name, shard)) = front.rsplit_once('-')
            && is_number(shard)
            && is_number(total)
            && !name.is_empty()
        {
            return name.to_owned();
        }
    }
    match stem.rsplit_once(['-', '_', '.']) {
        Some((name, number)) if is_number(number) && !name.is_empty() => name.to_owned(),
        _ => stem.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::split_name;

    #[test]
    fn the_split_name_has_no_extension_and_no_shard_number() {
        for (file, split) in [
            ("train.jsonl", "train"),
            ("train-00000-of-00002.parquet", "train"),
            ("test-00000-of-00001-ab12cd.parquet", "test"),
            ("validation_03.csv", "validation"),
            ("train.1.jsonl", "train"),
            ("hard-negatives.jsonl", "hard-negatives"),
            ("state-of-art.csv", "state-of-art"),
            ("-1.csv", "-1"),
            ("train-00000-of-00002.jsonl.gz", "train"),
            ("test.csv.zst", "test"),
        ] {
            assert_eq!(split_name(file), split, "{file}");
        }
    }
}
