use crate::build::state::{BUILDING, State};
use crate::error::IndexError;
use crate::ids::IDS;
use crate::manifest::{Bm25Entry, MANIFEST, Manifest, PartEntry};
use crate::rows::{ENDS, ROWS};
use crate::vectors::{BYTES, TERMS};
use rankforge_base::{DirectoryKind, FileError, claim_directory};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// The folder of an index, which no other process changes meanwhile.
pub(crate) struct Folder {
    pub(super) path: PathBuf,
    /// Locked as long as it is open.
    _claim: Option<File>,
}

/// Folder of the parts of the inverted index.
pub(crate) const BM25: &str = "bm25";

/// The files that an index may have.
const FILES: [&str; 10] =
    [MANIFEST, BUILDING, ROWS, ENDS, IDS, BYTES, TERMS, "vectors.f32", "vectors.f16", BM25];

/// Prefix of the names of temporary files.
const TEMPORARY: &str = ".rankforge-";

/// How [`replace_directory`](rankforge_base::replace_directory) recognizes an index.
pub(crate) const INDEX_DIRECTORY: DirectoryKind<'static> = DirectoryKind {
    name: "an index",
    recognises: &|entries| entries.iter().any(|entry| entry.name == MANIFEST),
    owns: &|entry| is_own(&entry.name),
    temporary_prefix: ".rankforge-compact-",
};

/// Whether an index has a file of this name.
fn is_own(name: &str) -> bool {
    name.starts_with(TEMPORARY) || FILES.contains(&name)
}

/// The folder of a part of the inverted index.
pub(crate) fn part_folder(index: &Path, part: &PartEntry) -> PathBuf {
    index.join(BM25).join(format!("{}-{}", part.first, part.first + part.rows))
}

impl Folder {
    /// Claims the folder of an index, or a new or empty one, which is created.
    ///
    /// # Errors
    /// When it has other files, another process changes it, or it cannot be created.
    pub(super) fn claim(path: &Path) -> Result<Folder, IndexError> {
        let io = FileError::io(path);
        if path.exists() && !path.is_dir() {
            let message = "expected the directory of an index or a new one, got a file";
            return Err(FileError::content(path, message).into());
        }
        if path.is_dir() {
            for entry in fs::read_dir(path).map_err(io)? {
                let name = entry.map_err(io)?.file_name();
                let name = name.to_string_lossy();
                if !is_own(&name) {
                    let message = format!(
                        "expected a new or empty directory, or an index, got one that holds \
                         \"{name}\""
                    );
                    return Err(FileError::content(path, message).into());
                }
            }
        }
        fs::create_dir_all(path).map_err(io)?;
        let claim = claim_directory(path)?;
        Ok(Folder { path: path.to_owned(), _claim: claim })
    }

    /// What an interrupted run left, unless it is to be discarded, or is older than the index.
    pub(crate) fn unfinished(
        &self,
        manifest: Option<&Manifest>,
        restart: bool,
    ) -> Result<Option<State>, IndexError> {
        let generation = manifest.map_or(0, |manifest| manifest.generation);
        if !restart
            && let Some(state) = State::read(&self.path)?
            && state.manifest.generation > generation
        {
            return Ok(Some(state));
        }
        State::remove(&self.path)?;
        Ok(None)
    }

    /// Removes the files of rows and vectors that a discarded run left where there is no index.
    pub(super) fn remove_rows(&self) -> Result<(), IndexError> {
        for name in FILES.into_iter().filter(|name| ![MANIFEST, BUILDING, BM25].contains(name)) {
            let path = self.path.join(name);
            if path.exists() {
                fs::remove_file(&path).map_err(FileError::io(&path))?;
            }
        }
        Ok(())
    }

    /// Removes the parts of the inverted index that are not in `bm25`.
    pub(super) fn remove_other_parts(&self, bm25: Option<&Bm25Entry>) -> Result<(), IndexError> {
        let parts = bm25.iter().flat_map(|bm25| &bm25.parts);
        let kept: Vec<PathBuf> = parts.map(|part| part_folder(&self.path, part)).collect();
        let folder = self.path.join(BM25);
        let Ok(entries) = fs::read_dir(&folder) else { return Ok(()) };
        for entry in entries {
            let path = entry.map_err(FileError::io(&folder))?.path();
            if !kept.contains(&path) {
                fs::remove_dir_all(&path).map_err(FileError::io(&path))?;
            }
        }
        Ok(())
    }
}
