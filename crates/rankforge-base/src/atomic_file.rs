use crate::directory::{parent_of, sync_directory};
use crate::file_error::FileError;
use crate::temporary::{create_owned, own_file, remove_abandoned};
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// How the names of temporary files begin and end.
const TEMPORARY: (&str, &str) = (".rankforge-", ".part");

/// Capacity of the write buffer, in bytes.
const BUFFER_BYTES: usize = 1 << 20;

/// A file that appears at its path only once it is complete.
///
/// It is written under a temporary name in the same directory; [`AtomicFile::commit`] renames it to
/// its path. Dropping it without a commit deletes the temporary file and leaves an earlier file of
/// that path as it was. A temporary file whose process was killed is deleted by the next
/// [`AtomicFile::create`] in the same directory.
///
/// A symbolic link to a file stays one: the file that it points to is replaced.
///
/// On Unix it has the permissions of an ordinary new file: 0o666 minus the umask.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Creates the temporary file that [`AtomicFile::commit`] will rename to `path`.
    ///
    /// # Errors
    /// When `path` is a directory, a device or a pipe, or when no file can be created in its parent
    /// directory.
    pub fn create(path: &Path) -> Result<AtomicFile, FileError> {
        if path.exists() && !path.is_file() {
            let got = if path.is_dir() { "a directory" } else { "a device or a pipe" };
            let message = format!("expected the path of a file to write, got {got}");
            return Err(FileError::content(path, message));
        }
        let target = (path.is_symlink() && path.exists()).then(|| path.canonicalize()).transpose();
        let target = target.map_err(FileError::io(path))?;
        let path = target.as_deref().unwrap_or(path);
        let parent = parent_of(path);
        if !parent.exists() {
            let message = format!("the directory {} does not exist", parent.display());
            return Err(FileError::content(path, message));
        }
        let (prefix, suffix) = TEMPORARY;
        remove_abandoned(parent, |name| name.starts_with(prefix) && name.ends_with(suffix));
        let mut builder = tempfile::Builder::new();
        builder.prefix(prefix).suffix(suffix);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // tempfile's default is 0o600, readable by the owner only. The umask still applies.
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let owned = create_owned(|| {
            let file = builder.tempfile_in(parent)?;
            Ok(own_file(file.as_file())?.then_some(file))
        });
        let file = owned.map_err(FileError::io(path))?;
        Ok(AtomicFile { path: path.to_owned(), file: BufWriter::with_capacity(BUFFER_BYTES, file) })
    }

    /// The path that the file will have after [`AtomicFile::commit`].
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A second handle on the temporary file, for writers that need to own a [`File`].
    ///
    /// The two handles share one position in the file, and writes through the second one bypass the
    /// buffer of the first: write through one of them only.
    ///
    /// # Errors
    /// When the operating system cannot duplicate the handle, for instance because too many files
    /// are open.
    pub fn handle(&self) -> Result<File, FileError> {
        self.file.get_ref().as_file().try_clone().map_err(FileError::io(&self.path))
    }

    /// Flushes the buffer, syncs the file to the disk and renames it to its path.
    ///
    /// # Errors
    /// When the disk is full or the file cannot be renamed. The temporary file is then deleted.
    pub fn commit(self) -> Result<(), FileError> {
        let path = self.path;
        let complete = || -> io::Result<()> {
            let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        complete().map_err(FileError::io(&path))?;
        sync_directory(parent_of(&path))
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for AtomicFile {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.file.seek(position)
    }
}

/// Writes `bytes` as the whole content of `path` through an [`AtomicFile`]; replaces an earlier
/// file.
///
/// # Errors
/// When the file cannot be written. An earlier file at `path` is then left unchanged.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes).map_err(FileError::io(path))?;
    file.commit()
}
