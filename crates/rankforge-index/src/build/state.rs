use crate::error::IndexError;
use crate::manifest::{Manifest, VectorsEntry, read_json, write_json};
use rankforge_base::FileError;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// How far a run is that builds an index or appends to one: the content of `building.json`, which
/// is there as long as the run is not finished.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// The corpus, for messages.
    pub(crate) corpus: PathBuf,
    /// The SHA-256 of its rows.
    pub(crate) digest: String,
    /// Number of its rows.
    pub(crate) total: usize,
    /// Number of rows that the index had before.
    pub(crate) before: usize,
    /// What the index will be, as far as it is complete.
    pub(crate) manifest: Manifest,
}

/// Name of the file.
pub(super) const BUILDING: &str = "building.json";

impl State {
    pub(super) fn read(folder: &Path) -> Result<Option<State>, IndexError> {
        let path = folder.join(BUILDING);
        let state = read_json::<State>(&path)?;
        if let Some(state) = &state {
            state.manifest.check(&path)?;
            let done = state.manifest.rows.checked_sub(state.before);
            if done.is_none_or(|done| done > state.total) {
                let message = "`before`, `total` and `rows` contradict each other";
                return Err(FileError::content(&path, message).into());
            }
        }
        Ok(state)
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), IndexError> {
        write_json(&folder.join(BUILDING), self)
    }

    pub(crate) fn remove(folder: &Path) -> Result<(), IndexError> {
        let path = folder.join(BUILDING);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(FileError::io(&path)(error).into())
            }
            _ => Ok(()),
        }
    }

    /// Number of rows of the corpus that are done.
    pub(super) fn done(&self) -> usize {
        self.manifest.rows - self.before
    }

    /// Checks that a run continues what `self` was left by: the same corpus, with the same
    /// settings.
    pub(super) fn expect_same(&self, new: &State, folder: &Path) -> Result<(), IndexError> {
        let refuse = |message: String| {
            let run = if self.before > 0 { "an append" } else { "a build" };
            let message = format!("{run} was interrupted here that has {message}");
            Err(IndexError::Unfinished { path: folder.to_owned(), message })
        };
        if self.digest != new.digest {
            let (before, after) = (self.corpus.display(), new.corpus.display());
            return refuse(match self.corpus == new.corpus {
                true => format!("{before} as it was then; the texts there are others now"),
                false => format!("the texts of {before}; those of {after} are others"),
            });
        }
        let (before, after) = (&self.manifest, &new.manifest);
        if before.vectors != after.vectors {
            let describe = |manifest: &Manifest| {
                manifest
                    .vectors
                    .as_ref()
                    .map_or_else(|| "no model".to_owned(), VectorsEntry::describe)
            };
            return refuse(format!("{}, not {}", describe(before), describe(after)));
        }
        let language =
            |manifest: &Manifest| manifest.bm25.as_ref().map(|bm25| &bm25.language).cloned();
        let (before, after) = (language(before), language(after));
        if before != after {
            let describe = |language: Option<String>| match language {
                Some(language) => format!("BM25 with the language {language}"),
                None => "no BM25".to_owned(),
            };
            return refuse(format!("{}, not {}", describe(before), describe(after)));
        }
        Ok(())
    }
}
