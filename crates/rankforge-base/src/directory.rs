use crate::file_error::FileError;
use crate::temporary::{NEW, OLD, create_owned, own_directory, remove_abandoned};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Component, Path};
use tempfile::TempDir;

/// A file or directory inside a directory.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// File name without its path; bytes that are not UTF-8 become replacement characters.
    pub name: String,
    /// Whether the entry is itself a directory.
    pub is_directory: bool,
}

/// A kind of directory that [`replace_directory`] may overwrite, such as a model directory.
///
/// The two predicates protect directories with files of the user's own from being deleted.
pub struct DirectoryKind<'a> {
    /// Name in error messages, with its article: "a model directory".
    pub name: &'a str,
    /// Whether a directory with these entries (at least one) is of this kind.
    pub recognises: &'a dyn Fn(&[Entry]) -> bool,
    /// Whether this entry belongs to a directory of this kind. A directory with any other entry is
    /// not replaced.
    pub owns: &'a dyn Fn(&Entry) -> bool,
    /// Prefix of the temporary directory's name.
    pub temporary_prefix: &'a str,
}

impl DirectoryKind<'_> {
    /// Checks that [`replace_directory`] may write to `path`.
    ///
    /// It may when nothing exists there, or an empty directory, or a directory that
    /// [`DirectoryKind::recognises`] and whose entries this kind all [`DirectoryKind::owns`].
    ///
    /// # Errors
    /// When `path` is a file, a directory of another kind or with other entries, cannot be read, or
    /// does not end in a name (`/`, `..`).
    pub fn check_replaceable(&self, path: &Path) -> Result<(), FileError> {
        if !matches!(path.components().next_back(), Some(Component::Normal(_))) {
            let message = format!("expected the path of a new directory or of {}", self.name);
            return Err(FileError::content(path, message));
        }
        let metadata = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(FileError::io(path)(error)),
        };
        if !metadata.is_dir() {
            let message =
                format!("expected {} or a path that does not exist, got a file", self.name);
            return Err(FileError::content(path, message));
        }
        let entries = entries(path)?;
        if entries.is_empty() {
            return Ok(());
        }
        if !(self.recognises)(&entries) {
            let message = format!(
                "the directory exists and is not {}, so it is not replaced; choose a new or empty \
                 directory",
                self.name
            );
            return Err(FileError::content(path, message));
        }
        match entries.iter().find(|entry| !(self.owns)(entry)) {
            None => Ok(()),
            Some(foreign) => {
                let message = format!(
                    "the directory holds \"{}\", which would be lost, so it is not replaced by {}; \
                     choose another directory",
                    foreign.name, self.name
                );
                Err(FileError::content(path, message))
            }
        }
    }

    /// Removes the temporary directories in `parent` of processes that were killed while they wrote
    /// a directory of this kind. [`replace_directory`] does it before it writes.
    pub fn remove_abandoned(&self, parent: &Path) {
        remove_abandoned(parent, |name| name.starts_with(self.temporary_prefix));
    }

    /// Creates a temporary directory in `parent`. It belongs to this process as long as the file is
    /// open.
    fn temporary(&self, parent: &Path) -> io::Result<(TempDir, File)> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(self.temporary_prefix);
        create_owned(|| {
            let temporary = builder.tempdir_in(parent)?;
            Ok(own_directory(temporary.path())?.map(|owner| (temporary, owner)))
        })
    }
}

/// Creates or replaces the directory `path` as a whole.
///
/// `fill` gets an empty temporary directory beside `path` and writes the files. They are then
/// synced to the disk, and the temporary directory is renamed to `path`. An earlier directory of
/// the same kind is deleted. Missing parent directories are created. If `path` is a symbolic link
/// to a directory, that directory is replaced.
///
/// # Errors
/// The error of [`DirectoryKind::check_replaceable`], the error of `fill`, or a failed write or
/// rename. What was at `path` is then left unchanged, and the temporary directory is deleted.
pub fn replace_directory<E: From<FileError>>(
    path: &Path,
    kind: &DirectoryKind<'_>,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    kind.check_replaceable(path)?;
    let target = path.is_symlink().then(|| fs::canonicalize(path)).transpose();
    let target = target.map_err(FileError::io(path))?;
    let path = target.as_deref().unwrap_or(path);
    let parent = parent_of(path);
    fs::create_dir_all(parent).map_err(FileError::io(parent))?;
    kind.remove_abandoned(parent);
    let (temporary, _owner) = kind.temporary(parent).map_err(FileError::io(path))?;
    // The temporary directory has mode 0o700, so `path` becomes an ordinary directory inside it.
    let filled = temporary.path().join(NEW);
    fs::create_dir(&filled).map_err(FileError::io(path))?;
    fill(&filled)?;
    sync_tree(&filled)?;
    swap(path, &filled, temporary)?;
    Ok(sync_directory(parent)?)
}

/// Renames `filled` to `path`. An existing directory first moves into `temporary`, because a
/// directory cannot be renamed onto one that is not empty.
fn swap(path: &Path, filled: &Path, temporary: TempDir) -> Result<(), FileError> {
    if !path.exists() {
        return fs::rename(filled, path).map_err(FileError::io(path));
    }
    let old = temporary.path().join(OLD);
    fs::rename(path, &old).map_err(FileError::io(path))?;
    if let Err(error) = fs::rename(filled, path) {
        if fs::rename(&old, path).is_err() {
            // The old directory is still inside `temporary`, which its destructor would delete.
            let kept = temporary.keep();
            let message =
                format!("{error}; the earlier directory was moved to {}/old", kept.display());
            return Err(FileError::content(path, message));
        }
        return Err(FileError::io(path)(error));
    }
    Ok(())
}

/// The entries of a directory, sorted by name.
fn entries(path: &Path) -> Result<Vec<Entry>, FileError> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(FileError::io(path))? {
        let entry = entry.map_err(FileError::io(path))?;
        let is_directory = entry.file_type().map_err(FileError::io(path))?.is_dir();
        entries
            .push(Entry { name: entry.file_name().to_string_lossy().into_owned(), is_directory });
    }
    entries.sort();
    Ok(entries)
}

/// Syncs every file and directory below `directory` to the disk.
fn sync_tree(directory: &Path) -> Result<(), FileError> {
    for entry in fs::read_dir(directory).map_err(FileError::io(directory))? {
        let path = entry.map_err(FileError::io(directory))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        } else {
            File::open(&path).and_then(|file| file.sync_all()).map_err(FileError::io(&path))?;
        }
    }
    sync_directory(directory)
}

/// Syncs the entries of `directory` to the disk, so that files created or renamed in it are still
/// there after a crash. Does nothing outside Unix, where a directory cannot be opened as a file.
///
/// # Errors
/// When the directory cannot be opened or synced.
pub fn sync_directory(directory: &Path) -> Result<(), FileError> {
    if cfg!(unix) {
        let handle = File::open(directory);
        handle.and_then(|handle| handle.sync_all()).map_err(FileError::io(directory))?;
    }
    Ok(())
}

/// Claims `directory` for this process for as long as the result lives. It is `None` where
/// directories cannot be locked: outside Unix, and on some network file systems.
///
/// # Errors
/// When another process has claimed the directory, or the directory cannot be opened.
pub fn claim_directory(directory: &Path) -> Result<Option<File>, FileError> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let handle = File::open(directory).map_err(FileError::io(directory))?;
    match handle.try_lock() {
        Ok(()) => Ok(Some(handle)),
        Err(TryLockError::WouldBlock) => Err(FileError::content(
            directory,
            "expected a directory that no other process writes to, but one does",
        )),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

/// The parent directory of `path`; `.` for a bare file name.
pub(crate) fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
