use crate::cache::RepoCache;
use crate::client::Client;
use crate::download::Download;
use crate::error::HubError;
use crate::repo::Repo;
use crate::settings::HubSettings;
use crate::tree::{RemoteFile, commit, files};
use rankforge_base::{Reporter, Stop, Task};
use std::path::PathBuf;

/// The Hub and its cache.
pub struct Hub {
    client: Client,
}

/// The files of a repository at a commit, in the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Their folder.
    pub path: PathBuf,
    /// The commit.
    pub commit: String,
    /// Number of files that were downloaded; the others were in the cache.
    pub downloaded: usize,
}

impl Hub {
    /// The Hub with these settings. Nothing is asked yet.
    pub fn new(settings: HubSettings) -> Hub {
        Hub { client: Client::new(settings) }
    }

    /// Downloads those files of a repository that are `wanted`, by their paths, and not in the
    /// cache.
    ///
    /// Offline, the folder of the cache is returned as it is; the same, with a warning, where the
    /// Hub does not answer.
    ///
    /// # Errors
    /// A repository, a revision or a file that there is not or that this user may not read; no file
    /// that is wanted; no answer, or offline, and nothing in the cache; content with another size
    /// or hash than the Hub says; a file that cannot be written; a request to stop.
    pub fn snapshot(
        &self,
        repo: &Repo,
        wanted: &dyn Fn(&str) -> bool,
        reporter: &dyn Reporter,
        stop: &Stop,
    ) -> Result<Snapshot, HubError> {
        let settings = self.client.settings();
        let cache = RepoCache::new(&settings.cache, repo);
        let cached = || {
            let commit = cache.commit(&repo.revision)?;
            Some(Snapshot { path: cache.snapshot(&commit), commit, downloaded: 0 })
        };
        if settings.offline {
            return cached().ok_or_else(|| {
                let message = format!(
                    "not in {}, and HF_HUB_OFFLINE forbids to ask for it",
                    settings.cache.display()
                );
                HubError::refused(repo.to_string(), message)
            });
        }
        let commit = match (commit(&self.client, repo, stop), cached()) {
            (Ok(commit), _) => commit,
            (Err(HubError::Unavailable { what, message }), Some(cached)) => {
                let text = format!("{what}: {message}; {repo} is used as it is in the cache");
                reporter.warning(&text);
                return Ok(cached);
            }
            (Err(error), _) => return Err(error),
        };
        let mut all = files(&self.client, repo, &commit, stop)?;
        all.retain(|file| wanted(&file.path));
        if all.is_empty() {
            return Err(HubError::NothingWanted { repo: repo.to_string() });
        }
        let download = Download { client: &self.client, repo, commit: &commit, stop };
        let downloaded = fill(&download, &cache, &all, reporter)?;
        cache.set_commit(&repo.revision, &commit)?;
        Ok(Snapshot { path: cache.snapshot(&commit), commit, downloaded })
    }
}

/// Downloads what is missing of the files, and links all; returns the number of downloads.
fn fill(
    download: &Download<'_>,
    cache: &RepoCache,
    all: &[RemoteFile],
    reporter: &dyn Reporter,
) -> Result<usize, HubError> {
    let is_here = |file: &&RemoteFile| {
        std::fs::metadata(cache.blob(file)).is_ok_and(|blob| blob.len() == file.size)
    };
    let missing: Vec<&RemoteFile> = all.iter().filter(|file| !is_here(file)).collect();
    if !missing.is_empty() {
        let bytes = missing.iter().map(|file| file.size).sum::<u64>();
        let task = Task::begin(reporter, "Downloading", bytes as usize, "bytes");
        for file in &missing {
            download.file(file, &cache.blob(file), &task)?;
        }
    }
    all.iter().try_for_each(|file| cache.link(download.commit, file))?;
    Ok(missing.len())
}
