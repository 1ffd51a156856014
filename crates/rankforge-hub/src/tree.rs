//! The files of a repository, with their sizes and hashes.

use crate::client::Client;
use crate::error::HubError;
use crate::repo::Repo;
use rankforge_base::Stop;
use serde_json::Value;

/// The hash of a file's content, by which the cache names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Hash {
    /// Of a large file: the content's.
    Sha256(String),
    /// Of a file in git: that of the blob, whose header has the size.
    GitBlob(String),
}

impl Hash {
    pub(crate) fn name(&self) -> &str {
        match self {
            Hash::Sha256(name) | Hash::GitBlob(name) => name,
        }
    }
}

/// A file of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RemoteFile {
    /// Its path, with slashes.
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) hash: Hash,
}

/// The greatest number of files that are listed.
const MOST_FILES: usize = 100_000;

/// A revision as it stands in an address.
fn encoded(revision: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => (byte as char).to_string(),
        other => format!("%{other:02X}"),
    };
    revision.bytes().map(byte).collect()
}

/// A path as it stands in an address.
fn encoded_path(path: &str) -> String {
    path.split('/').map(encoded).collect::<Vec<_>>().join("/")
}

/// The commit of the repository's revision.
///
/// # Errors
/// No answer, or another than expected.
pub(crate) fn commit(client: &Client, repo: &Repo, stop: &Stop) -> Result<String, HubError> {
    let endpoint = &client.settings().endpoint;
    let url = format!("{endpoint}{}/revision/{}", repo.api(), encoded(&repo.revision));
    let (answer, _) = client.json(repo, &url, stop)?;
    match answer["sha"].as_str() {
        Some(sha) if is_hash(sha, 40) => Ok(sha.to_owned()),
        _ => Err(HubError::refused(repo.to_string(), "the answer has no commit")),
    }
}

/// All files at a commit.
///
/// # Errors
/// No answer, or one with files that cannot be.
pub(crate) fn files(
    client: &Client,
    repo: &Repo,
    commit: &str,
    stop: &Stop,
) -> Result<Vec<RemoteFile>, HubError> {
    let endpoint = &client.settings().endpoint;
    let mut next = Some(format!("{endpoint}{}/tree/{commit}?recursive=true", repo.api()));
    let mut files = Vec::new();
    while let Some(url) = next {
        let (answer, following) = client.json(repo, &url, stop)?;
        let entries = answer.as_array().ok_or_else(|| malformed(repo, "no list of files"))?;
        for entry in entries.iter().filter(|entry| entry["type"] == "file") {
            files.push(file(repo, entry)?);
        }
        if files.len() > MOST_FILES {
            return Err(malformed(repo, &format!("more than {MOST_FILES} files")));
        }
        next = following;
    }
    Ok(files)
}

fn file(repo: &Repo, entry: &Value) -> Result<RemoteFile, HubError> {
    let path = entry["path"].as_str().unwrap_or_default();
    let is_part =
        |part: &str| !["", ".", ".."].contains(&part) && !part.contains(['\\', ':', '\0']);
    if !path.split('/').all(is_part) {
        return Err(malformed(repo, &format!("a file at `{path}`")));
    }
    let large = &entry["lfs"];
    let (size, hash) = match large["oid"].as_str() {
        Some(oid) if is_hash(oid, 64) => (&large["size"], Hash::Sha256(oid.to_owned())),
        _ => match entry["oid"].as_str() {
            Some(oid) if is_hash(oid, 40) => (&entry["size"], Hash::GitBlob(oid.to_owned())),
            _ => return Err(malformed(repo, &format!("no hash of {path}"))),
        },
    };
    let size = size.as_u64().ok_or_else(|| malformed(repo, &format!("no size of {path}")))?;
    Ok(RemoteFile { path: path.to_owned(), size, hash })
}

/// The address of a file at a commit.
pub(crate) fn address(client: &Client, repo: &Repo, commit: &str, path: &str) -> String {
    let endpoint = &client.settings().endpoint;
    format!("{endpoint}{}/resolve/{commit}/{}", repo.page(), encoded_path(path))
}

fn is_hash(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn malformed(repo: &Repo, what: &str) -> HubError {
    HubError::refused(repo.to_string(), format!("the answer of the Hub has {what}"))
}
