//! The files of a part on the disk.

use crate::bm25::language::Language;
use crate::bm25::part::Part;
use crate::error::IndexError;
use crate::manifest::{Extent, PartEntry};
use crate::rows::map_file;
use rankforge_base::{FileError, hexadecimal, sync_directory, write_atomically};
use rankforge_kernels::Mapping;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    DirectoryLock, FileHandle, Lock, OwnedBytes, WatchCallback, WatchHandle, WritePtr,
};
use tantivy::{Directory, HasLen};

/// Builds the part of `texts` in a new folder, and returns its files.
pub(crate) fn write_part<T: AsRef<str>>(
    folder: &Path,
    language: Language,
    texts: impl IntoIterator<Item = Result<T, IndexError>>,
) -> Result<BTreeMap<String, Extent>, IndexError> {
    let files = Part::build(language, texts)?.files()?;
    std::fs::create_dir_all(folder).map_err(FileError::io(folder))?;
    let mut written = BTreeMap::new();
    for (name, bytes) in files {
        write_atomically(&folder.join(&name), &bytes)?;
        let sha256 = hexadecimal(&Sha256::digest(bytes.as_slice()));
        let extent = Extent { end: bytes.len() as u64, sha256 };
        written.insert(name.to_string_lossy().into_owned(), extent);
    }
    sync_directory(folder)?;
    Ok(written)
}

/// The files of a part, mapped, as tantivy reads them. Nothing is written.
#[derive(Clone)]
pub(super) struct MappedFolder {
    files: Arc<HashMap<PathBuf, Arc<MappedFile>>>,
}

struct MappedFile(Mapping);

impl MappedFolder {
    /// Maps the files of a part after a look at their lengths.
    pub(super) fn open(folder: &Path, part: &PartEntry) -> Result<MappedFolder, IndexError> {
        let open = |(name, extent): (&String, &Extent)| {
            let file = MappedFile(map_file(&folder.join(name), extent.end)?);
            Ok((PathBuf::from(name), Arc::new(file)))
        };
        let files: Result<HashMap<_, _>, IndexError> = part.files.iter().map(open).collect();
        Ok(MappedFolder { files: Arc::new(files?) })
    }

    fn file(&self, path: &Path) -> Result<&Arc<MappedFile>, OpenReadError> {
        self.files.get(path).ok_or_else(|| OpenReadError::FileDoesNotExist(path.to_owned()))
    }
}

impl fmt::Debug for MappedFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappedFolder({} files)", self.files.len())
    }
}

impl fmt::Debug for MappedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MappedFile({} bytes)", self.len())
    }
}

impl HasLen for MappedFile {
    fn len(&self) -> usize {
        self.0.bytes().len()
    }
}

impl FileHandle for MappedFile {
    /// A copy: postings and dictionaries are small beside what a search does with them.
    fn read_bytes(&self, range: Range<usize>) -> io::Result<OwnedBytes> {
        match self.0.bytes().get(range.clone()) {
            Some(bytes) => Ok(OwnedBytes::new(bytes.to_vec())),
            None => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("bytes {} to {} of a file of {}", range.start, range.end, self.len()),
            )),
        }
    }
}

impl Directory for MappedFolder {
    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        Ok(self.file(path)?.clone())
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        Ok(self.files.contains_key(path))
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        Ok(self.file(path)?.0.bytes().to_vec())
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        Err(DeleteError::IoError { io_error: Arc::new(read_only()), filepath: path.to_owned() })
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        Err(OpenWriteError::wrap_io_error(read_only(), path.to_owned()))
    }

    fn atomic_write(&self, _path: &Path, _data: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn sync_directory(&self) -> io::Result<()> {
        Ok(())
    }

    /// Files of a part never change, so that readers need no lock.
    fn acquire_lock(&self, _lock: &Lock) -> Result<DirectoryLock, LockError> {
        Ok(DirectoryLock::from(Box::new(())))
    }

    fn watch(&self, _callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        Ok(WatchHandle::empty())
    }
}

fn read_only() -> io::Error {
    io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the files of an index are not written to")
}
