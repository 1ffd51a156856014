//! Temporary files and directories of processes that were killed.
//!
//! Whoever writes something temporary holds a lock on it, which the operating system releases when
//! the process ends, however it ends. Something temporary that nobody holds a lock on is abandoned,
//! and the next write in the same directory removes it. On file systems without locks nothing is
//! ever removed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

/// The file in a temporary directory that its owner holds a lock on.
const OWNER: &str = ".owner";

/// In a temporary directory: what it is written for.
pub(crate) const NEW: &str = "new";

/// In a temporary directory: what `NEW` replaces, once that is complete.
pub(crate) const OLD: &str = "old";

/// Number of times that a new temporary file or directory is created again, after another process
/// took it for an abandoned one between its creation and its lock.
const ATTEMPTS: usize = 16;

/// Creates something temporary and locks it, again if `create` returns `None`, as another process
/// has removed it in between.
///
/// # Errors
/// The error of `create`, without the temporary name.
pub(crate) fn create_owned<T>(create: impl Fn() -> io::Result<Option<T>>) -> io::Result<T> {
    for _ in 0..ATTEMPTS {
        if let Some(owned) = create().map_err(without_temporary_name)? {
            return Ok(owned);
        }
    }
    Err(io::Error::other("other processes removed everything temporary"))
}

/// An error of tempfile without what it appends: ` at path "..."`, the temporary name.
fn without_temporary_name(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path \"") {
        Some((message, _)) => io::Error::new(error.kind(), message.to_owned()),
        None => error,
    }
}

/// Locks a temporary file that was just created. `false` when another process has removed it.
pub(crate) fn own_file(file: &File) -> io::Result<bool> {
    // Without a lock, nobody else can lock the file either, so nobody removes it.
    let _ = file.lock();
    Ok(link_count(&file.metadata()?) > 0)
}

/// Locks a temporary directory that was just created, for as long as the file is open. `None` when
/// another process has removed the directory.
pub(crate) fn own_directory(directory: &Path) -> io::Result<Option<File>> {
    match File::create_new(directory.join(OWNER)) {
        Ok(file) => Ok(own_file(&file)?.then_some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the abandoned temporary files and directories in `directory` whose names
/// `is_temporary`. What cannot be read or removed stays: the write that follows does not need it
/// gone.
pub(crate) fn remove_abandoned(directory: &Path, is_temporary: impl Fn(&str) -> bool) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(&is_temporary) {
            let _ = remove_if_abandoned(&entry.path());
        }
    }
}

fn remove_if_abandoned(path: &Path) -> io::Result<()> {
    let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
    if !fs::symlink_metadata(path)?.is_dir() {
        return match open(path)?.try_lock() {
            Ok(()) => fs::remove_file(path),
            Err(error) => Err(error.into()),
        };
    }
    match open(&path.join(OWNER)) {
        Ok(owner) => {
            owner.try_lock()?;
            // Killed between the two renames of a replacement: this is the only copy of both.
            if path.join(NEW).exists() && path.join(OLD).exists() {
                return Ok(());
            }
            fs::remove_dir_all(path)
        }
        // Its process was killed between creating the directory and locking it. If the process is
        // alive instead, it creates another one.
        Err(error) if error.kind() == ErrorKind::NotFound => fs::remove_dir(path),
        Err(error) => Err(error),
    }
}

/// Number of names that a file has; 0 once it was removed.
#[cfg(unix)]
fn link_count(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

/// An open file cannot be removed there.
#[cfg(not(unix))]
fn link_count(_metadata: &Metadata) -> u64 {
    1
}
