use crate::DataError;
use crate::error::list;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// File formats, by extension.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Format {
    Json,
    Csv,
    Parquet,
}

impl Format {
    /// Of a path, when its extension is known.
    pub(crate) fn of(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "jsonl" | "json" | "ndjson" => Some(Format::Json),
            "csv" | "tsv" => Some(Format::Csv),
            "parquet" => Some(Format::Parquet),
            _ => None,
        }
    }
}

/// The splits of a folder with their files, sorted by name; a file is one split called `train`.
///
/// A file belongs to the split its name begins with: `train.jsonl`, `train-00000-of-00002.parquet`, `train_1.csv`.
/// All files of a sub-folder belong to the split of the folder's name, except that a sub-folder `data` counts as the
/// folder itself. Names that begin with a point and the descriptions that other tools leave (`dataset_info.json`,
/// `dataset_infos.json`, `state.json`) are passed over.
///
/// # Errors
/// When the path does not exist or holds no data file.
pub fn splits(path: &Path) -> Result<Vec<(String, Vec<PathBuf>)>, DataError> {
    let metadata = std::fs::metadata(path).map_err(|error| DataError::io(path, error))?;
    if !metadata.is_dir() {
        return match Format::of(path) {
            Some(_) => Ok(vec![("train".to_owned(), vec![path.to_owned()])]),
            None => Err(DataError::file(
                path,
                "unknown extension: expected .jsonl, .json, .csv, .tsv or .parquet",
            )),
        };
    }
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    collect(path, None, &mut found)?;
    if found.is_empty() {
        let message =
            "no data in this folder: expected .jsonl, .json, .csv, .tsv or .parquet files";
        return Err(DataError::file(path, message));
    }
    for files in found.values_mut() {
        files.sort();
    }
    Ok(found.into_iter().collect())
}

/// The files of one split; `None` takes `train`, or the only split.
pub(crate) fn split_files(path: &Path, split: Option<&str>) -> Result<Vec<PathBuf>, DataError> {
    let mut splits = splits(path)?;
    let there = list(splits.iter().map(|(name, _)| name.as_str()));
    let index = match split {
        Some(split) => splits.iter().position(|(name, _)| name == split),
        None if splits.len() == 1 => Some(0),
        None => splits.iter().position(|(name, _)| name == "train"),
    };
    let Some(index) = index else {
        let message = match split {
            Some(split) => {
                let names: Vec<&str> = splits.iter().map(|(name, _)| name.as_str()).collect();
                let hint = crate::error::nearest(split, &names)
                    .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                let is_file = if path.is_file() { " (a file is one split)" } else { "" };
                format!("no split `{split}`: there is {there}{is_file}{hint}")
            }
            None => format!("there is no split `train`: choose one of {there}"),
        };
        return Err(DataError::file(path, message));
    };
    let (name, files) = splits.swap_remove(index);
    let formats: Vec<Option<Format>> = files.iter().map(|file| Format::of(file)).collect();
    if let Some(other) = formats.iter().position(|format| *format != formats[0]) {
        let message = format!(
            "split `{name}` has files of different formats, {} and {}: keep one",
            files[0].display(),
            files[other].display()
        );
        return Err(DataError::file(path, message));
    }
    Ok(files)
}

fn collect(
    folder: &Path,
    split: Option<&str>,
    found: &mut BTreeMap<String, Vec<PathBuf>>,
) -> Result<(), DataError> {
    let io = |error| DataError::io(folder, error);
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            match split {
                Some(_) => {}
                None if name == "data" => collect(&path, None, found)?,
                None => collect(&path, Some(name), found)?,
            }
            continue;
        }
        let description = matches!(name, "dataset_info.json" | "dataset_infos.json" | "state.json");
        if !description && Format::of(&path).is_some() {
            let split = split.map_or_else(|| split_name(name), str::to_owned);
            found.entry(split).or_default().push(path);
        }
    }
    Ok(())
}

/// `train-00000-of-00002-1a2b.parquet`, `train_03.csv` and `train.jsonl` are of split `train`.
fn split_name(file_name: &str) -> String {
    let stem = file_name.rsplit_once('.').map_or(file_name, |(stem, _)| stem);
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
    fn shard_numbers_are_no_part_of_the_split_name() {
        for (file, split) in [
            ("train.jsonl", "train"),
            ("train-00000-of-00002.parquet", "train"),
            ("test-00000-of-00001-ab12cd.parquet", "test"),
            ("validation_03.csv", "validation"),
            ("train.1.jsonl", "train"),
            ("hard-negatives.jsonl", "hard-negatives"),
            ("state-of-art.csv", "state-of-art"),
            ("-1.csv", "-1"),
        ] {
            assert_eq!(split_name(file), split, "{file}");
        }
    }
}
