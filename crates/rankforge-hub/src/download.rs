//! The content of a file, into the cache.

use crate::client::Client;
use crate::error::HubError;
use crate::repo::Repo;
use crate::tree::{Hash, RemoteFile, address};
use rankforge_base::{FileError, Stop, Task, hexadecimal};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use ureq::Body;
use ureq::http::{Response, StatusCode};

/// How often a transfer that breaks off without a byte is begun again.
const ATTEMPTS: u32 = 5;

/// Bytes that are read at a time.
const BUFFER: usize = 1 << 16;

/// Downloads of a repository's files at a commit.
pub(crate) struct Download<'a> {
    pub(crate) client: &'a Client,
    pub(crate) repo: &'a Repo,
    pub(crate) commit: &'a str,
    pub(crate) stop: &'a Stop,
}

impl Download<'_> {
    /// Downloads a file to `blob`, or the rest of it where an earlier download was cut, and checks
    /// its size and hash.
    ///
    /// # Errors
    /// No answer, another size or hash than the Hub says, a full disk, or a request to stop.
    pub(crate) fn file(
        &self,
        file: &RemoteFile,
        blob: &Path,
        task: &Task<'_>,
    ) -> Result<(), HubError> {
        let folder = blob.parent().expect("in blobs");
        std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
        let partial = blob.with_extension("incomplete");
        let mut progress = Progress { task, counted: 0 };
        // What an earlier download left may be of another content.
        let mut continues = size(&partial) > 0;
        loop {
            self.complete(file, &partial, &mut progress)?;
            match check(&partial, file) {
                Ok(()) => break,
                Err(error) => {
                    std::fs::remove_file(&partial).map_err(FileError::io(&partial))?;
                    if !std::mem::take(&mut continues) {
                        return Err(error);
                    }
                }
            }
        }
        std::fs::rename(&partial, blob).map_err(FileError::io(blob))?;
        Ok(())
    }

    /// Requests what is left of a file until all of it is there.
    fn complete(
        &self,
        file: &RemoteFile,
        partial: &Path,
        progress: &mut Progress<'_>,
    ) -> Result<(), HubError> {
        let url = address(self.client, self.repo, self.commit, &file.path);
        let mut failures = 0;
        loop {
            let before = size(partial);
            progress.reach(before);
            if before == file.size && partial.is_file() {
                return Ok(());
            }
            let from = if before > file.size { 0 } else { before };
            let response = self.client.get(self.repo, &url, Some(from), self.stop)?;
            match transfer(response, file, partial, from, progress, self.stop) {
                Ok(()) => return Ok(()),
                Err(HubError::Unavailable { .. }) if size(partial) > before => failures = 0,
                Err(HubError::Unavailable { .. }) if failures + 1 < ATTEMPTS => failures += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

/// The task with the bytes of a file that it knows of.
struct Progress<'a> {
    task: &'a Task<'a>,
    counted: u64,
}

impl Progress<'_> {
    /// Reports the bytes beyond those that were reported before; `bytes` of the file are here.
    fn reach(&mut self, bytes: u64) {
        if bytes > self.counted {
            self.task.advance((bytes - self.counted) as usize);
            self.counted = bytes;
        }
    }
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Writes the bytes of an answer, to its end or that of the connection. They begin at `from` if the
/// answer says so; a server may send the whole file all the same.
fn transfer(
    response: Response<Body>,
    file: &RemoteFile,
    partial: &Path,
    from: u64,
    progress: &mut Progress<'_>,
    stop: &Stop,
) -> Result<(), HubError> {
    let io = FileError::io(partial);
    let continues = from > 0 && response.status() == StatusCode::PARTIAL_CONTENT;
    let mut options = OpenOptions::new();
    match continues {
        true => options.append(true),
        false => options.create(true).write(true).truncate(true),
    };
    let mut output = options.open(partial).map_err(io)?;
    let mut place = if continues { from } else { 0 };
    let mut input = response.into_body().into_reader();
    let mut buffer = vec![0; BUFFER];
    let unavailable = |message: String| HubError::unavailable(file.path.clone(), message);
    loop {
        if stop.is_requested() {
            return Err(HubError::Interrupted);
        }
        let read = input.read(&mut buffer).map_err(|error| unavailable(error.to_string()))?;
        if read == 0 {
            break;
        }
        place += read as u64;
        if place > file.size {
            // What is wrong must not be continued.
            drop(output);
            std::fs::remove_file(partial).map_err(io)?;
            let message = format!("is longer than its {} bytes", file.size);
            return Err(HubError::refused(file.path.clone(), message));
        }
        output.write_all(&buffer[..read]).map_err(io)?;
        progress.reach(place);
    }
    output.sync_all().map_err(io)?;
    match place == file.size {
        true => Ok(()),
        false => Err(unavailable(format!("{place} of {} bytes came", file.size))),
    }
}

/// Checks size and hash of what was downloaded.
fn check(partial: &Path, file: &RemoteFile) -> Result<(), HubError> {
    let mut input = File::open(partial).map_err(FileError::io(partial))?;
    let digest = match &file.hash {
        Hash::Sha256(_) => digest(&mut input, Sha256::new()),
        Hash::GitBlob(_) => {
            let mut hasher = Sha1::new();
            hasher.update(format!("blob {}\0", file.size));
            digest(&mut input, hasher)
        }
    };
    let digest = digest.map_err(FileError::io(partial))?;
    if digest != file.hash.name().to_ascii_lowercase() {
        let message = format!(
            "the content has the hash {digest}, and the Hub says {}; it was thrown away",
            file.hash.name()
        );
        return Err(HubError::refused(file.path.clone(), message));
    }
    Ok(())
}

fn digest(input: &mut impl Read, mut hasher: impl Digest) -> io::Result<String> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = input.read(&mut buffer)?;
        if read == 0 {
            return Ok(hexadecimal(&hasher.finalize()));
        }
        hasher.update(&buffer[..read]);
    }
}
