//! The layout of the cache, which is that of Python's client.

use crate::error::HubError;
use crate::repo::Repo;
use crate::tree::RemoteFile;
use rankforge_base::{FileError, write_atomically};
use std::path::{Path, PathBuf};

/// The folder of a repository in the cache: contents in `blobs`, by hash; links to them in
/// `snapshots/COMMIT`; and the commit of a revision in `refs`.
pub(crate) struct RepoCache(PathBuf);

impl RepoCache {
    pub(crate) fn new(cache: &Path, repo: &Repo) -> RepoCache {
        RepoCache(cache.join(repo.folder()))
    }

    /// Where the content of a file is, or will be.
    pub(crate) fn blob(&self, file: &RemoteFile) -> PathBuf {
        self.0.join("blobs").join(file.hash.name())
    }

    /// The folder of a commit.
    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.0.join("snapshots").join(commit)
    }

    /// The commit that a revision had when it was last asked for, if its files are here.
    pub(crate) fn commit(&self, revision: &str) -> Option<String> {
        if self.snapshot(revision).is_dir() {
            return Some(revision.to_owned());
        }
        let commit = std::fs::read_to_string(self.0.join("refs").join(revision)).ok()?;
        let commit = commit.trim().to_owned();
        self.snapshot(&commit).is_dir().then_some(commit)
    }

    /// Notes the commit of a revision.
    pub(crate) fn set_commit(&self, revision: &str, commit: &str) -> Result<(), HubError> {
        if revision == commit {
            return Ok(());
        }
        let path = self.0.join("refs").join(revision);
        let folder = path.parent().expect("in refs");
        std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        Ok(write_atomically(&path, commit.as_bytes())?)
    }

    /// Puts a link to the content of a file into the folder of a commit.
    pub(crate) fn link(&self, commit: &str, file: &RemoteFile) -> Result<(), HubError> {
        let path = self.snapshot(commit).join(&file.path);
        let folder = path.parent().expect("in a snapshot");
        std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        let up = "../".repeat(2 + file.path.matches('/').count());
        let target = PathBuf::from(format!("{up}blobs/{}", file.hash.name()));
        if std::fs::read_link(&path).is_ok_and(|earlier| earlier == target) {
            return Ok(());
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(FileError::io(&path)(error).into());
            }
            _ => {}
        }
        link(&target, &self.blob(file), &path).map_err(FileError::io(&path))?;
        Ok(())
    }
}

#[cfg(unix)]
fn link(target: &Path, _blob: &Path, path: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

/// Links need a privilege there.
#[cfg(not(unix))]
fn link(_target: &Path, blob: &Path, path: &Path) -> std::io::Result<()> {
    std::fs::copy(blob, path).map(drop)
}
